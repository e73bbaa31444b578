"""P6: banks that were written once, by the code of their time, restore for ever.

When one of these fails, the code is wrong, never the bank: do not make it again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cinderbank.bank import keys as bank_keys
from cinderbank.bank.bank import StoredBank
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_independent_reader import restore
from tests.unit.bank.test_round_trip import read_all

GOLDEN = Path(__file__).parents[2] / "golden"
BANKS = sorted(path.parent for path in GOLDEN.glob("format-*/*/expected.json"))


@pytest.fixture(params=BANKS, ids=lambda path: f"{path.parent.name}-{path.name}")
def golden(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def key_files(golden: Path) -> list[Path]:
    return sorted(golden.glob("*.key"))


def expected(golden: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads((golden / "expected.json").read_text())
    return rows


def test_all_are_there() -> None:
    assert [path.name for path in BANKS] == ["encrypted", "incremental", "plain"]


def test_p6_it_restores(golden: Path) -> None:
    store = MemoryStore()
    for path in (golden / "bank").rglob("*"):
        if path.is_file():
            store.objects[path.relative_to(golden / "bank").as_posix()] = path.read_bytes()
    before = dict(store.objects)
    keks = [bank_keys.read_key_file(path) for path in key_files(golden)]
    bank = StoredBank(store, "elsewhere", read_only=True, keks=keks)
    rows = expected(golden)
    assert [key.backup_id for key in bank.seals() if key] == [row["id"] for row in rows]
    for row in rows:
        content = read_all(store, bank.keys, site=row["site"], backup_id=row["id"])
        assert hashlib.sha512(content).hexdigest() == row["sha512"]
    assert store.objects == before


def test_p6_the_independent_reader_restores_it(golden: Path, tmp_path: Path) -> None:
    for row in expected(golden):
        done = restore(
            golden / "bank",
            tmp_path / "out",
            *key_files(golden),
            site=row["site"],
            backup_id=row["id"],
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert hashlib.sha512((tmp_path / "out").read_bytes()).hexdigest() == row["sha512"]
