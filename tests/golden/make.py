"""Makes a golden bank: `python -m tests.golden.make plain|incremental|encrypted DIRECTORY`.

Run once for each format version and kept: what a release could read is never made again, or it would
prove nothing. `format-1/` was made anew before the first release, when the content's hash became one over
the hashes of its chunks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

from cinderbank.bank.geometry import Geometry
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from tests.fakes.backups import BACKUP, IMAGE, OTHER_BACKUP, SITE, VOLUME, backup_transfer, bank_on
from tests.fakes.glance_images import FakeGlance
from tests.fakes.object_store import MemoryStore

CHUNK_BYTES = 64 * 1024
# Public, and of no other bank.
KEY = hashlib.sha256(b"the key of the golden bank").digest()


def content(changed: bool) -> bytes:
    """Text, a hole, noise, one byte, text again (or other noise), a short last chunk."""
    noise = random.Random(1)
    text = (b"all work and no play makes jack a dull boy\n" * 2000)[:CHUNK_BYTES]
    fifth = noise.randbytes(CHUNK_BYTES // 2).ljust(CHUNK_BYTES, b"\0") if changed else text
    first = [text, bytes(CHUNK_BYTES), random.Random(2).randbytes(CHUNK_BYTES)]
    return b"".join([*first, b"\x01".rjust(CHUNK_BYTES, b"\0"), fifth, b"the end"])


def main(kind: str, directory: Path) -> None:
    store = MemoryStore()
    options = {}
    if kind == "encrypted":
        from cinderbank.bank.crypto import KeyEncryptionKey

        options["keks"] = [KeyEncryptionKey(KEY)]
    made = []
    for backup_id, data in ((BACKUP, content(False)), (OTHER_BACKUP, content(True))):
        if backup_id == OTHER_BACKUP and kind == "plain":
            break
        bank, glance = bank_on(store, **options), FakeGlance()
        glance.add(IMAGE, data, "sha512")
        bank.open_session(SITE, backup_id, VOLUME)
        transfer = replace(backup_transfer(data), backup_id=backup_id)
        meter = ProgressMeter(len(data), lambda progress: None)
        geometry = Geometry(len(data), CHUNK_BYTES, 4)
        run_backup(transfer, bank, glance.api(), meter, geometry)
        bank.seal(SITE, backup_id, VOLUME)
        digest = hashlib.sha512(data).hexdigest()
        made.append({"site": SITE, "id": backup_id, "size_bytes": len(data), "sha512": digest})
    for key, body in store.objects.items():
        path = directory / "bank" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    (directory / "expected.json").write_text(json.dumps(made, indent=2) + "\n")
    if kind == "encrypted":
        (directory / "test-only.key").write_bytes(base64.b64encode(KEY) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
