"""An image in a file without a name: bounded, exact, and readable at any place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cinderbank.domain.errors import DataCorrupt, OverQuota, Unsupported
from cinderbank.transfer.qcow2.decode import decode
from cinderbank.transfer.spool import Spool
from tests.fakes.qcow2_images import build, content, cut, in_order, joined

CLUSTERS = {n: bytes([n]) * 512 for n in (1, 5, 64, 200)}


def test_an_image_out_of_order_through_a_spool(tmp_path: Path) -> None:
    order = in_order(CLUSTERS, 512)
    image = build(300 * 512, CLUSTERS, order=[order[0], *order[:0:-1]])
    body = bytes(image.body)
    with Spool(len(body), len(body), tmp_path) as spool:

        def reread() -> Spool:
            spool.fill(cut(body, 100))
            return spool

        found = joined(decode(cut(body, 600), len(body), 300 * 512, reread), 300 * 512)
        assert list(tmp_path.iterdir()) == [], "the file has no name, so nothing can be left"
    assert found == content(image, CLUSTERS)


def test_larger_than_the_limit() -> None:
    with pytest.raises(Unsupported, match="transport: Raw") as raised:
        Spool(1001, 1000)
    assert raised.value.reason == "ImageNotInOrder"


@pytest.mark.parametrize("blocks", [[b"a" * 99], [b"a" * 50, b"b" * 51], []])
def test_another_length_than_announced(blocks: list[bytes]) -> None:
    with Spool(100, 100) as spool, pytest.raises(DataCorrupt) as raised:
        spool.fill(blocks)
    assert raised.value.reason == "ImageCorrupt"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_file_system(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, body: object) -> int:
        raise OSError(number, os.strerror(number))

    with Spool(10, 10) as spool:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OverQuota, match="transport: Raw") as raised:
            spool.fill([b"0123456789"])
    assert raised.value.reason == "SpoolFull"


def test_reading_at_any_place() -> None:
    with Spool(10, 10) as spool:
        spool.fill([b"01234", b"", b"56789"])
        assert spool.read_at(3, 4) == b"3456"
        assert spool.read_at(8, 4) == b"89"
        assert spool.read_at(10, 1) == b""
