"""Banks of ours, read by a program that was written from docs/bank-format.md and shares no code."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cinderbank.bank import keys as bank_keys
from cinderbank.bank import layout
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.wrapped_keys import encoded_kek
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    back_up,
    backup_transfer,
    bank_on,
    sample,
)
from tests.fakes.glance_images import FakeGlance
from tests.fakes.object_store import MemoryStore

READER = Path(__file__).parents[2] / "independent_reader" / "read_bank.py"
KEK = KeyEncryptionKey(os.urandom(32))
OTHER = KeyEncryptionKey(os.urandom(32))
CONTENT = sample("tzrszt", tail=1000)
CHANGED = sample("trrszz", tail=1000)


def dump(store: MemoryStore, directory: Path) -> Path:
    for key, body in store.objects.items():
        path = directory / "bank" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return directory / "bank"


def restore(
    bank: Path, output: Path, *key_files: Path, site: str = SITE, backup_id: str = BACKUP
) -> subprocess.CompletedProcess[str]:
    # -I: neither this folder, nor PYTHONPATH with our code.
    command = [sys.executable, "-I", str(READER), str(bank), site, backup_id, str(output)]
    return subprocess.run(
        [*command, *map(str, key_files)], capture_output=True, text=True, check=False, timeout=50
    )


def key_file(directory: Path, kek: KeyEncryptionKey) -> Path:
    path = directory / f"{kek.id}.key"
    path.write_bytes(encoded_kek(kek))
    return path


def test_it_shares_no_code_with_us() -> None:
    tree = ast.parse(READER.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"blake3", "cryptography", "zstandard"}


@pytest.mark.parametrize(
    "content",
    [CONTENT, b"x", sample("zzzz"), sample("rrr"), sample("zttz"), sample("z") + b"\0"],
    ids=["mixed", "one-byte", "zeros", "noise", "holes-at-both-ends", "short-hole"],
)
@pytest.mark.parametrize("keks", [[], [KEK]], ids=["plain", "encrypted"])
def test_p1_it_restores_what_we_wrote(
    tmp_path: Path, content: bytes, keks: list[KeyEncryptionKey]
) -> None:
    store = MemoryStore()
    back_up(store, content, keks=keks)
    files = [key_file(tmp_path, kek) for kek in keks]
    done = restore(dump(store, tmp_path), tmp_path / "out", *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").read_bytes() == content


@pytest.mark.parametrize("keks", [[], [KEK]], ids=["plain", "encrypted"])
def test_it_restores_an_incremental_backup(tmp_path: Path, keks: list[KeyEncryptionKey]) -> None:
    store = MemoryStore()
    for backup_id, content in ((BACKUP, CONTENT), (OTHER_BACKUP, CHANGED)):
        bank, glance = bank_on(store, keks=keks), FakeGlance()
        glance.add(IMAGE, content, "sha512")
        bank.open_session(SITE, backup_id, VOLUME)
        transfer = replace(backup_transfer(content), backup_id=backup_id)
        meter = ProgressMeter(len(content), lambda progress: None)
        run_backup(transfer, bank, glance.api(), meter, Geometry(len(content), CHUNK, 2))
        bank.seal(SITE, backup_id, VOLUME)
    borrowed = [
        key
        for key in store.objects
        if key.startswith(layout.session_chunks_prefix(SITE, OTHER_BACKUP))
    ]
    # Chunk 1 became noise; 0, 2, 3 and the tail are the first backup's, 4 and 5 are holes.
    assert len(borrowed) == 1
    files, directory = [key_file(tmp_path, kek) for kek in keks], dump(store, tmp_path)
    for backup_id, content in ((BACKUP, CONTENT), (OTHER_BACKUP, CHANGED)):
        done = restore(directory, tmp_path / "out", *files, backup_id=backup_id)
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "out").read_bytes() == content


def test_it_reads_after_a_rotation_with_the_new_key_only(tmp_path: Path) -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT, keks=[KEK])
    assert bank.keys is not None
    bank_keys.rotate(bank.keys, KEK.id, OTHER)
    directory = dump(store, tmp_path)
    assert restore(directory, tmp_path / "out", key_file(tmp_path, KEK)).returncode == 1
    assert restore(directory, tmp_path / "out", key_file(tmp_path, OTHER)).returncode == 0
    digest = hashlib.sha512((tmp_path / "out").read_bytes()).digest()
    assert digest == hashlib.sha512(CONTENT).digest()


@pytest.mark.parametrize("keks", [[], [KEK]], ids=["plain", "encrypted"])
def test_it_refuses_damage(tmp_path: Path, keks: list[KeyEncryptionKey]) -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=keks)
    files = [key_file(tmp_path, kek) for kek in keks]
    for kind in ("/chunks/", "/index/", "manifest", "seals/"):
        broken = MemoryStore()
        broken.objects = dict(store.objects)
        key = next(key for key in broken.objects if kind in key)
        broken.flip(key, len(broken.objects[key]) * 8 - 300)
        directory = dump(broken, tmp_path / kind.strip("/"))
        done = restore(directory, tmp_path / "out", *files)
        assert done.returncode == 1
        assert done.stderr.startswith("refused: ")
