"""CA certificates as files: many of them, of anybody, in one small file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cinderbank.app.clouds import AUTHORITIES_BYTES, AUTHORITY_BYTES, authority_file
from cinderbank.domain.errors import InvalidSpec


def content(number: int) -> bytes:
    return f"{number}\n".encode().ljust(AUTHORITY_BYTES, b"#")


def test_a_file_is_written_once_for_us_alone(tmp_path: Path) -> None:
    path = authority_file(tmp_path / "ca", b"one")
    assert path.read_bytes() == b"one"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert authority_file(tmp_path / "ca", b"one") == path
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_secret_that_keeps_changing_does_not_fill_the_disk(tmp_path: Path) -> None:
    used = authority_file(tmp_path, b"of another project")
    old = authority_file(tmp_path, b"of nobody any more")
    os.utime(old, ns=(1, 1))
    for number in range(2 * AUTHORITIES_BYTES // AUTHORITY_BYTES):
        authority_file(tmp_path, content(number))
        assert authority_file(tmp_path, b"of another project") == used
        assert used.exists()
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= AUTHORITIES_BYTES
    assert not old.exists()


def test_what_is_no_certificate_of_a_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="at most"):
        authority_file(tmp_path, content(1) + b"#")
    assert list(tmp_path.iterdir()) == []
