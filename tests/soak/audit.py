"""What a soak left in the bank, judged by the independent reader, the ledger and what the gates saw."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tests.independent_reader.read_bank import Bank
from tests.soak.ledger import Ledger, State
from tests.stage.bucket import Bucket
from tests.stage.gate import Gate

KEPT = re.compile("bank[.]json|sites/[^/]+/(tombs|writers)/.*|sites/[^/]+/seals/.*")
"""What needs no backup that names it; which seals there are is compared by itself."""


class Reader(Bank):
    """The independent reader; remembers every object that it was asked for."""

    def __init__(self, directory: Path) -> None:
        self.read_keys: set[str] = set()
        super().__init__(directory, [])

    def get(self, key: str, most: int) -> bytes:
        self.read_keys.add(key)
        return super().get(key, most)


def audit_bank(bucket: Bucket, prefix: str, ledger: Ledger, directory: Path) -> int:
    """Every backup that must be there is, with the right bytes; nothing else is. Returns how many.

    For a bank that nobody works in any more and that was collected. `directory` gets a copy of it.
    """
    # The scratch of a self-test may be gone before it can be read.
    keys = [key for key in bucket.keys(prefix) if "/probes/" not in key]
    for key in keys:
        target = directory / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bucket.read(f"{prefix}/{key}"))
    there = ledger.entries(State.THERE)
    tombs = {key.rpartition("/")[2] for key in keys if "/tombs/" in key}
    sealed = {
        (key.split("/")[1], key.rpartition("/")[2].partition(".")[0])
        for key in keys
        if "/seals/" in key
    }
    assert {(f"site-{entry.site}", entry.backup_id) for entry in there} == sealed
    gone = {entry.backup_id for entry in ledger.entries(State.GONE)}
    assert gone <= tombs, "each that was deleted has its tomb"
    assert not tombs & {entry.backup_id for entry in there}

    reader = Reader(directory)
    for entry in there:
        whole = hashlib.sha256()
        for plain in reader.read(f"site-{entry.site}", entry.backup_id):
            whole.update(plain)
        assert whole.hexdigest() == entry.sha256, f"{entry} has other bytes"
    left = {key for key in keys if not KEPT.fullmatch(key)}
    unneeded = left - reader.read_keys
    assert not unneeded, f"{len(unneeded)} objects that no backup needs, such as {min(unneeded)}"
    return len(there)


def audit_trace(gate: Gate, site: str, other: str, ledger: Ledger) -> int:
    """All that `site` (a letter) did to the other's part of the bank was to free what the other's user had
    deleted before: it deleted such objects, and put such tombs again. Returns how many objects it deleted.

    A tomb is put again with its own bytes when the last of its data goes: its 30 days begin then.
    """
    part = f"/sites/site-{other}/"
    deleted_by_user = {e.backup_id for e in ledger.entries(State.GOING, State.GONE)}
    deleted = gate.done("DELETE", part)
    for verb, done, kinds in (
        ("wrote", gate.done("PUT", part), ("tombs",)),
        ("deleted", deleted, ("chunks", "journal", "backups", "seals")),
    ):
        for key in done:
            kind, _, rest = key.rpartition(part)[2].partition("/")
            assert kind in kinds, f"site {site} {verb} {key}"
            assert deleted_by_user & set(re.split("[/.]", rest)[:2]), f"site {site} {verb} {key}"
    own = f"/sites/site-{site}/"
    assert gate.done("PUT", own), "the gate saw nothing: it is not in front of this site"
    return len(deleted)
