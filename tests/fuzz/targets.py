"""What is fuzzed: for each parser its valid samples and one call."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cinderbank.bank import index, layout, manifest, scrub
from cinderbank.bank.chunk import MAX_CHUNK_BYTES, Envelope
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.marks import BankHeader, Intent, Seal, Tomb
from cinderbank.bank.ranges import Ranges
from cinderbank.bank.scrub import AttemptRef, Damage, Report
from cinderbank.bank.store import MAX_CONTROL_BYTES
from cinderbank.bank.wrapped_keys import WrappedKey
from cinderbank.cli.bank_file import BankFile
from cinderbank.domain.errors import CinderbankError
from cinderbank.ports.transfers import CopyTransfer
from cinderbank.transfer import job, vdi
from cinderbank.transfer.qcow2.decode import MAX_WAITING_BYTES, decode
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    NOW,
    READER,
    SITE,
    VOLUME,
    back_up,
    backup_transfer,
    sample,
)
from tests.fakes.object_store import MemoryStore
from tests.fakes.qcow2_images import Cluster, Packed, Rereads, build, cut, in_order, joined

BANK_ID = "77777777-2222-4333-8444-555555555555"
KEK = KeyEncryptionKey(bytes(range(32)))
CHUNK_KEY = layout.chunk(SITE, BACKUP, 1, 0)
MANIFEST_KEY = layout.manifest(SITE, VOLUME, BACKUP)

_FIXED_BYTES = 2 << 20
"""Room for what Python itself holds on to: buffers, caches, an error's text."""


@dataclass(frozen=True)
class Target:
    """`read` refuses with CinderbankError or returns; `allowed` is how much memory an input may cost."""

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    allowed: Callable[[bytes], int]

    def __call__(self, body: bytes) -> bool:
        """True when the input was taken, False when it was refused. Anything else is a bug."""
        try:
            self.read(body)
        except CinderbankError:
            return False
        return True


def _json_bytes(body: bytes) -> int:
    # Every two bytes ("[]", "0,") may become an object of Python of up to 120 bytes.
    return _FIXED_BYTES + 100 * len(body)


def _bank(encrypted: bool) -> MemoryStore:
    store = MemoryStore()
    options = {"keks": [KEK]} if encrypted else {}
    back_up(store, sample("tzrs", tail=77), **options)
    return store


_PLAIN, _ENCRYPTED = _bank(encrypted=False), _bank(encrypted=True)


def _keyring(store: MemoryStore) -> Keyring:
    header = BankHeader.parse(store.objects[layout.BANK], layout.BANK)
    return Keyring(store, header.bank_id, [KEK])


_KEYS = _keyring(_ENCRYPTED)


# Manifests, plain and encrypted.


def read_manifest(body: bytes) -> None:
    if len(body) <= manifest.MAX_MANIFEST_BYTES:
        manifest.parse(body, MANIFEST_KEY)


def read_encrypted_manifest(body: bytes) -> None:
    if len(body) <= manifest.MAX_MANIFEST_BYTES:
        manifest.parse(body, MANIFEST_KEY, _KEYS.reading())


# Index parts: six bytes say for which geometry.


def read_index(body: bytes) -> None:
    head, rest = body[:6].ljust(6, b"\0"), body[6:]
    entries = max(1, len(rest) // index.ENTRY_BYTES)
    chunk_bytes = 4096 << (head[0] % 13)
    size = max(1, entries * chunk_bytes - int.from_bytes(head[1:3], "little"))
    geometry = Geometry(size, chunk_bytes, max(1, head[3]) * 256)
    for part in range(min(geometry.part_count, 2)):
        list(index.read_part(rest, geometry, part, 1 + head[4], "fuzz"))


def _index_samples() -> tuple[bytes, ...]:
    store = MemoryStore()
    back_up(store, sample("tzrsr"), part_entries=65_536)
    [(key, body)] = [item for item in store.objects.items() if "/index/" in item[0]]
    return (bytes(6) + bytes(Envelope().decode(body, 5 * index.ENTRY_BYTES, key)),)


# Envelopes: four bytes say how long the plain text must be.


def _plain_bytes(body: bytes) -> int:
    return 1 + int.from_bytes(body[:4], "little") % MAX_CHUNK_BYTES


def read_envelope(body: bytes) -> None:
    Envelope().decode(body[4:], _plain_bytes(body), CHUNK_KEY)


def read_encrypted_envelope(body: bytes) -> None:
    Envelope(_KEYS.reading()).decode(body[4:], _plain_bytes(body), CHUNK_KEY)


def _envelope_samples(store: MemoryStore) -> tuple[bytes, ...]:
    """One object only: an encrypted one opens at its own key alone."""
    return ((CHUNK - 1).to_bytes(4, "little") + store.objects[CHUNK_KEY],)


def _envelope_bytes(body: bytes) -> int:
    return _FIXED_BYTES + 2 * _plain_bytes(body) + 2 * len(body)


# Marks: the first byte says which.

_MARKS: tuple[Callable[[bytes, str], object], ...] = (
    BankHeader.parse, Intent.parse, Seal.parse, Tomb.parse, WrappedKey.parse,
)  # fmt: skip


def read_mark(body: bytes) -> None:
    if body and len(body) <= MAX_CONTROL_BYTES:
        _MARKS[body[0] % len(_MARKS)](body[1:], "fuzz")


def _mark_samples() -> tuple[bytes, ...]:
    prefixes = {"bank.json": 0, "intents": 1, "seals": 2, "tombs": 3, "keys/": 4}
    store = _bank(encrypted=True)
    intent = Intent(VOLUME)
    store.objects[layout.intent(SITE, BACKUP)] = intent.dump()
    store.objects[layout.tomb(SITE, BACKUP)] = Tomb(VOLUME).dump()
    return tuple(
        bytes([number]) + body
        for name, number in prefixes.items()
        for key, body in store.objects.items()
        if name in key
    )


# qcow2 images: the first byte says how long blocks are. One pass and random access must agree.

_MOST_COMPARED_BYTES = 1 << 20


def read_qcow2(body: bytes) -> None:
    block_bytes, image = 64 << (body[0] % 8 if body else 0), body[1:]
    size = max(1, int.from_bytes(image[24:32], "big"))
    found: list[bytes] = []
    for waiting in (MAX_WAITING_BYTES, 0):
        blocks = cut(image, block_bytes)
        extents = decode(blocks, len(image), size, Rereads(image), max_waiting_bytes=waiting)
        if size <= _MOST_COMPARED_BYTES:
            found.append(joined(extents, size))
        else:
            for _ in extents:
                pass
    if found:
        assert found[0] == found[1]


def _qcow2_samples() -> tuple[bytes, ...]:
    clusters: dict[int, Cluster] = {
        0: b"a" * 512, 1: Packed(b"b" * 512), 2: Packed(b"cd" * 256), 3: "zero", 70: b"e" * 512,
    }  # fmt: skip
    version_2 = {number: held for number, held in clusters.items() if held != "zero"}
    order = in_order(version_2, 512)
    images = (
        build(100 * 512, clusters),
        build(100 * 512, clusters, zstd=True),
        build(100 * 512 - 12, version_2, version=2, order=[order[0], *order[:0:-1]]),
        build(1 << 30, {0: b"a" * 4096, 200_000: b"b" * 4096}, bits=12),
    )
    return tuple(bytes([number]) + bytes(image.body) for number, image in enumerate(images))


def read_vdi(body: bytes) -> None:
    block_bytes, image = 64 << (body[0] % 8 if body else 0), body[1:]
    size = max(1, int.from_bytes(image[368:376], "little"))
    for _ in vdi.decode(cut(image, block_bytes), len(image), size, Rereads(image)):
        pass


def _vdi_samples() -> tuple[bytes, ...]:
    samples = []
    for order in ((0, 1), (1, 0), ()):
        numbers = [order.index(n) if n in order else vdi.UNALLOCATED for n in range(2)]
        # It says that it has two MiB, and has them not: what fits into an input is the head.
        fields = (b"", vdi.SIGNATURE, vdi.VERSION, 0, 1, 0, b"", 512, 1024, 0, 0, 0, 512, 0)
        rest = (2 << 20, vdi.BLOCK_BYTES, 0, 2, len(order), b"", b"", b"", b"")
        head = vdi.HEADER.pack(*fields, *rest).ljust(512, b"\0")
        samples.append(b"\1" + head + struct.pack("<2I", *numbers).ljust(512, b"\0") + b"d" * 99)
    return tuple(samples)


def _qcow2_bytes(body: bytes) -> int:
    # Two volumes that are compared, the copy of the image, and tables as numbers of 8 bytes each.
    return _FIXED_BYTES + 3 * _MOST_COMPARED_BYTES + 60 * len(body)


# Scrub reports, the job file of a transfer, the bank file of a shell.


def read_report(body: bytes) -> None:
    if len(body) <= scrub.MAX_REPORT_BYTES:
        Report.parse(body, "fuzz")


def _report_samples() -> tuple[bytes, ...]:
    damage = Damage({AttemptRef(SITE, BACKUP, 1): Ranges([(1, 4), (9, 9)])})
    return (Report(NOW, "full", damage).dump(), Report(NOW, "sample", Damage()).dump())


def _from_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    folder = tempfile.TemporaryDirectory(prefix="cinderbank-fuzz-")  # gone with the process

    def reading(body: bytes) -> object:
        path = Path(folder.name) / "input"
        path.write_bytes(body)
        return read(path)

    return reading


def _job_samples() -> tuple[bytes, ...]:
    bank = job.BankJob("https://s3", "b", "p", "r", "auto", "/c", SITE, False, READER)
    cloud = job.CloudJob("/clouds.yaml", "cloud")
    copy = CopyTransfer(SITE, BACKUP, BACKUP, 4)
    jobs = (
        job.Job(bank, cloud, backup_transfer(b"1234")),
        job.Job(bank, None, copy, target=bank),
    )
    return tuple(job.dump(each).encode() for each in jobs)


_BANK_FILE = json.dumps(
    {"endpoint": "https://s3.example.org", "bucket": "b", "prefix": "p", "keyFiles": ["k"],
     "readOnly": True, "site": SITE, "bankID": READER}
).encode()  # fmt: skip

TARGETS = {
    "manifest": Target(read_manifest, (_PLAIN.objects[MANIFEST_KEY],), _json_bytes),
    "encrypted-manifest": Target(
        read_encrypted_manifest,
        (_ENCRYPTED.objects[MANIFEST_KEY],),
        lambda body: _json_bytes(body) + manifest.MAX_MANIFEST_BYTES,
    ),
    "index": Target(read_index, _index_samples(), _json_bytes),
    "envelope": Target(read_envelope, _envelope_samples(_PLAIN), _envelope_bytes),
    "encrypted-envelope": Target(
        read_encrypted_envelope, _envelope_samples(_ENCRYPTED), _envelope_bytes
    ),
    "marks": Target(read_mark, _mark_samples(), _json_bytes),
    "qcow2": Target(read_qcow2, _qcow2_samples(), _qcow2_bytes),
    "vdi": Target(read_vdi, _vdi_samples(), _qcow2_bytes),
    "scrub": Target(read_report, _report_samples(), _json_bytes),
    "job": Target(_from_file(job.load), _job_samples(), _json_bytes),
    "bank-file": Target(
        _from_file(BankFile.read), (_BANK_FILE, b"endpoint: https://s3\nbucket: b\n"), _json_bytes
    ),
}
