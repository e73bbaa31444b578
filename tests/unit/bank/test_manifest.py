"""The manifest and the marks: canonical when written, hostile until checked when read."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank import manifest as manifests
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.manifest import Manifest, PartRef, SessionRef, SourceHash
from cinderbank.bank.marks import BankHeader, BaseRef, Intent, Seal, Tomb
from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unsupported
from tests.fakes.backups import BACKUP, NOW, SITE, VOLUME, describe

CONTENT = bytes(10_000)
MANIFEST = Manifest(
    describe(CONTENT),
    Geometry(10_000, 4096, 2),
    (PartRef(1, "ab" * 32), PartRef(2, "cd" * 32)),
    (SessionRef(SITE, BACKUP),),
    "77777777-2222-4333-8444-555555555555",
    4096,
    SourceHash("sha256", "ef" * 32, verified=True),
)


def test_round_trip_and_canonical() -> None:
    body = manifests.dump(MANIFEST)
    assert manifests.parse(body, "k") == MANIFEST
    assert manifests.dump(manifests.parse(body, "k")) == body
    assert body.isascii()


names = st.text(max_size=30)


@given(names, names, st.dictionaries(names, names, max_size=5))
def test_round_trip_of_any_names(name: str, text: str, tags: dict[str, str]) -> None:
    description = replace(MANIFEST.description, backup_name=name, description=text, tags=tags)
    manifest = replace(MANIFEST, description=description)
    assert manifests.parse(manifests.dump(manifest), "k") == manifest


def test_what_no_reader_takes_is_not_written() -> None:
    description = replace(MANIFEST.description, tags={"a": "x" * 5000})
    with pytest.raises(DataCorrupt, match="tags"):
        manifests.dump(replace(MANIFEST, description=description))


def test_every_flipped_bit_and_truncation_changes_the_digest_and_raises_only_our_errors() -> None:
    body = manifests.dump(MANIFEST)
    digest = manifests.object_digest(body)
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        assert manifests.object_digest(bytes(damaged)) != digest
        with contextlib.suppress(CinderbankError):
            manifests.parse(bytes(damaged), "k")
    for end in range(len(body)):
        with pytest.raises(DataCorrupt):
            manifests.parse(body[:end], "k")


def _changed(path: str, value: Any) -> bytes:
    document = json.loads(manifests.dump(MANIFEST))
    at, *rest = path.split(".")
    inner = document
    for name in rest:
        inner = inner[at]
        at = name
    inner[at] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("content.size_bytes", 1 << 80, "size_bytes"),
        ("content.size_bytes", -1, "size_bytes"),
        ("content.size_bytes", True, "size_bytes"),
        ("content.size_bytes", 1.5, "size_bytes"),
        ("content.size_bytes", 1 << 30, "parts"),
        ("content.chunk_bytes", 1 << 30, "chunk size"),
        ("content.chunk_hash", "md5", "chunk_hash"),
        ("content.content_hash", "../../etc", "content_hash"),
        ("content.content_hash", "ab" * 64, "content_hash"),
        ("content.data_bytes", 10_001, "data_bytes"),
        ("content.data_bytes", None, "data_bytes"),
        ("content.transport", "raw", "transport"),
        ("content.content_format", "../../etc", "content_format"),
        ("content.content_format", 3, "content_format"),
        ("content.zero_bytes", 1 << 40, "zero_bytes"),
        ("index.part_entries", 1 << 40, "entries per index part"),
        ("index.entry_bytes", 65, "entry_bytes"),
        ("index.parts", [], "parts"),
        ("index.parts", [{}, {}], "attempt"),
        ("index.parts", [1, 2], "parts"),
        ("index.parts", {"a": 1}, "parts"),
        ("sessions", [], "sessions"),
        ("sessions", [{"site": "a/../b", "id": BACKUP}], "site"),
        ("sessions", [{"site": SITE, "id": "../" + BACKUP}], "id"),
        ("backup.volume_id", "../../x", "volume_id"),
        ("backup.volume_id", VOLUME.upper() + "\n", "volume_id"),
        ("backup.backup_id", BACKUP + "/x", "backup_id"),
        ("backup.site", "Site", "site"),
        ("backup.bootable", "true", "bootable"),
        ("backup.tags", {"a": 1}, "tags"),
        ("backup.tags", [["a", "b"]], "tags"),
        ("backup.snapshot_at", "yesterday", "snapshot_at"),
        ("backup.snapshot_at", "2026-01-01T00:00:00", "snapshot_at"),
        ("backup.snapshot_at", "0001-01-01T00:00:00+23:59", "snapshot_at"),
        ("backup.backup_name", "x" * 5000, "backup_name"),
        ("backup", None, "backup"),
        ("format.name", "cinderbank-seal", "name"),
    ],
)
def test_hostile_fields_are_named(path: str, value: Any, field: str) -> None:
    with pytest.raises(DataCorrupt, match=field) as caught:
        manifests.parse(_changed(path, value), "sites/x/manifest")
    assert "sites/x/manifest" in str(caught.value) or "chunk" in field or "entries" in field


@pytest.mark.parametrize("path", ["format.required", "format.optional"])
def test_unknown_required_features_are_refused_and_optional_ones_ignored(path: str) -> None:
    body = _changed(path, ["teleport"])
    if path.endswith("optional"):
        assert manifests.parse(body, "k") == MANIFEST
    else:
        with pytest.raises(Unsupported, match="teleport"):
            manifests.parse(body, "k")


def test_unknown_major_is_refused_and_unknown_fields_are_ignored() -> None:
    with pytest.raises(Unsupported, match="format 2"):
        manifests.parse(_changed("format.major", 2), "k")
    assert manifests.parse(_changed("content.new", {"x": 1}), "k") == MANIFEST


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\xfe", b"[]", b"null", b"1", b"{", b"[" * 200_000, b'{"a":' * 200_000,
        b'{"format":NaN}', b'{"a":1,"a":2}', b"1" * 10_000, b'{"format":{"name":[]}}',
        b'{"format":' + b"9" * 5000 + b"}",
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_document(body: bytes) -> None:
    for parse in (manifests.parse, Seal.parse, Tomb.parse, Intent.parse, BankHeader.parse):
        with pytest.raises(DataCorrupt, match="k"):
            parse(body, "k")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner)),
       st.sampled_from(["format", "bank_id", "backup", "content", "sessions", "index"]))  # fmt: skip
def test_any_json_in_any_place_raises_only_our_errors(value: Any, name: str) -> None:
    with contextlib.suppress(CinderbankError):
        manifests.parse(_changed(name, value), "k")


MARKS = [
    Seal("OK", "sha256:" + "ab" * 32, 10, 5, 3),
    Tomb(VOLUME),
    Intent(VOLUME),
    Intent(None, (BaseRef(SITE, BACKUP),)),
    Intent(VOLUME, (BaseRef(SITE, BACKUP, VOLUME),)),
    BankHeader.new(NOW),
]


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: type(mark).__name__)
def test_marks_round_trip_and_no_flipped_bit_raises_anything_else(mark: Any) -> None:
    body = mark.dump()
    assert mark.parse(body, "k") == mark
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(CinderbankError):
            mark.parse(bytes(damaged), "k")


@pytest.mark.parametrize("piece", [b"{},", b"[],", b'"ab",', b'{"a":1},'])
def test_many_small_things_do_not_become_hundreds_of_mebibytes(piece: bytes) -> None:
    count = manifests.MAX_MANIFEST_BYTES // len(piece) - 10
    body = b'{"x":[' + piece * count + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises(DataCorrupt, match="not JSON of ours"):
            manifests.parse(body, "k")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20
