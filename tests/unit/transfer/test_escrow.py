"""The key of an encrypted volume: in the encrypted manifest of its backup, and nowhere else."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cinderbank.bank import layout
from cinderbank.bank import manifest as manifests
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.escrow import EscrowedKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.json_object import Fields
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import (
    BrokenInvariant,
    CinderbankError,
    DataCorrupt,
    InvalidSpec,
    SourceGone,
    Unsupported,
)
from cinderbank.domain.facts import SecretFacts, VolumeEncryption
from cinderbank.ports.key_manager import MAX_PAYLOAD_BYTES, Secret
from cinderbank.ports.transfers import RestoreTransfer
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.restore import run_restore
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    backup_transfer,
    bank_on,
    sample,
)
from tests.fakes.backups import back_up as back_up_plain
from tests.fakes.copies import Pair
from tests.fakes.glance_images import FakeGlance, Image
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_independent_reader import dump, key_file, restore

KEK, OTHER_KEK = KeyEncryptionKey(os.urandom(32)), KeyEncryptionKey(os.urandom(32))
LUKS = b"LUKS\xba\xbe\x00\x01"
CONTENT = LUKS + sample("tzrszt", tail=1000)[len(LUKS) :]
PAYLOAD = bytes(range(64, 96))
KEY_ID = "aaaaaaaa-1111-4222-8333-444444444444"
ENCRYPTION = VolumeEncryption("luks", "aes-xts-plain64", 256, "front-end", KEY_ID)
SECRET = Secret(PAYLOAD, "symmetric", "aes", 256)
KEY = EscrowedKey(replace(ENCRYPTION, key_id=""), SECRET)


@dataclass
class Keys:
    """A key manager with one secret."""

    read: list[str] = field(default_factory=list)

    def read_secret(self, secret_id: str) -> Secret:
        self.read.append(secret_id)
        if secret_id != KEY_ID:
            raise SourceGone("no such secret", reason="EncryptionKeyNotFound")
        return SECRET

    def marked_secrets(self, mark: str) -> Sequence[SecretFacts]:
        raise NotImplementedError

    def create_secret(self, mark: str, secret: Secret) -> SecretFacts:
        raise NotImplementedError

    def delete_secret(self, secret_id: str) -> None:
        raise NotImplementedError


def back_up(
    store: MemoryStore,
    content: bytes = CONTENT,
    *,
    keks: tuple[KeyEncryptionKey, ...] = (KEK,),
    image_key: str | None = KEY_ID,
    backup_id: Any = BACKUP,
    seal: bool = True,
) -> StoredBank:
    bank, glance = bank_on(store, keks=keks), FakeGlance()
    glance.add(IMAGE, content)
    glance.images[IMAGE].encryption_key_id = image_key
    bank.open_session(SITE, backup_id, VOLUME)
    transfer = backup_transfer(content)
    source = replace(transfer.source, encrypted=True, encryption=ENCRYPTION)
    transfer = replace(transfer, backup_id=backup_id, source=source)
    meter = ProgressMeter(len(content), lambda progress: None)
    geometry = Geometry(len(content), CHUNK, 3)
    run_backup(transfer, bank, glance.api(), meter, geometry, key_manager=Keys())
    if seal:
        bank.seal(SITE, backup_id, VOLUME)
    return bank


def forms(payload: bytes = PAYLOAD) -> list[bytes]:
    return [payload, payload.hex().encode(), base64.b64encode(payload)]


def test_the_key_comes_out_with_the_keks_and_lies_nowhere_in_the_clear() -> None:
    store = MemoryStore()
    bank = back_up(store)
    assert bank.escrowed_key(SITE, BACKUP) == SECRET
    found = bank.find(BACKUP, SITE)
    assert found is not None and found.encryption == KEY.encryption
    assert not any(form in body for body in store.objects.values() for form in forms())
    assert not any(form in key.encode() for key in store.objects for form in forms())
    assert not any(form.decode("latin1") in repr(KEY) for form in forms())
    with pytest.raises(InvalidSpec) as wrong:
        bank_on(store, keks=(OTHER_KEK,)).escrowed_key(SITE, BACKUP)
    assert wrong.value.reason == "BankKeyWrong"


def test_the_next_one_borrows_ciphertext() -> None:
    store = MemoryStore()
    back_up(store)
    bank = back_up(store, backup_id=OTHER_BACKUP)
    found = bank.find(OTHER_BACKUP, SITE)
    assert found is not None and found.base_id == BACKUP and found.stored_bytes == 0
    assert bank.escrowed_key(SITE, OTHER_BACKUP) == SECRET


def test_a_manifest_of_another_backup_opens_nothing() -> None:
    """Moved to another backup of the same bank, key and all, it does not decrypt."""
    store = MemoryStore()
    bank = back_up(store)
    back_up(store, backup_id=OTHER_BACKUP)
    theirs = store.objects[layout.manifest(SITE, VOLUME, OTHER_BACKUP)]
    keys = bank.keys
    assert keys is not None
    with pytest.raises(CinderbankError):
        manifests.parse(theirs, layout.manifest(SITE, VOLUME, BACKUP), keys.reading())


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"keks": ()}, InvalidSpec, "EscrowNeedsEncryptedBank"),
        ({"image_key": None}, SourceGone, "EncryptionKeyNotFound"),
        (
            {"image_key": "bbbbbbbb-1111-4222-8333-444444444444"},
            SourceGone,
            "EncryptionKeyNotFound",
        ),
        ({"content": sample("tzrszt", tail=1000)}, DataCorrupt, "NotLUKS"),
    ],
)
def test_nothing_becomes_a_backup(changes: dict[str, Any], kind: Any, reason: str) -> None:
    store = MemoryStore()
    with pytest.raises(kind) as refused:
        back_up(store, **changes)
    assert refused.value.reason == reason
    assert layout.manifest(SITE, VOLUME, BACKUP) not in store.objects
    if reason != "NotLUKS":
        assert not [key for key in store.objects if "/chunks/" in key], "nothing was stored"


def test_a_manifest_of_an_earlier_attempt_without_the_key_is_not_taken() -> None:
    store = MemoryStore()
    bank, glance = bank_on(store, keks=(KEK,)), FakeGlance()
    glance.add(IMAGE, CONTENT)
    bank.open_session(SITE, BACKUP, VOLUME)
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    geometry = Geometry(len(CONTENT), CHUNK, 3)
    run_backup(backup_transfer(CONTENT), bank, glance.api(), meter, geometry)
    with pytest.raises(DataCorrupt, match="no key"):
        back_up(store)


def test_ciphertext_whose_key_nobody_asked_for_is_not_stored() -> None:
    """The volume was retyped to an encrypted type after it was looked at."""
    store = MemoryStore()
    bank, glance = bank_on(store, keks=(KEK,)), FakeGlance()
    glance.add(IMAGE, CONTENT)
    glance.images[IMAGE].encryption_key_id = KEY_ID
    bank.open_session(SITE, BACKUP, VOLUME)
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    with pytest.raises(Unsupported) as refused:
        run_backup(backup_transfer(CONTENT), bank, glance.api(), meter, key_manager=Keys())
    assert refused.value.reason == "EncryptedVolume"
    assert not [key for key in store.objects if "/chunks/" in key]


def test_it_is_never_written_plain() -> None:
    store = MemoryStore()
    bank = back_up(store)
    manifest = BackupReader.open(store, SITE, BACKUP, bank.keys).manifest
    for wrong in (replace(manifest, hash_key=None), replace(manifest, escrow=None)):
        with pytest.raises(BrokenInvariant):
            manifests.dump(wrong)
    with pytest.raises(DataCorrupt, match=r"not encrypted|other way round"):
        manifests.parse(manifests.dump(manifest), "k")


@pytest.mark.parametrize("allow_plain", [False, True])
def test_no_copy_takes_it_into_a_bank_without_keys(allow_plain: bool) -> None:
    banks = Pair(source_keks=(KEK,), target_keks=())
    back_up(banks.source)
    with pytest.raises(InvalidSpec) as refused:
        banks.copy(len(CONTENT), allow_plain=allow_plain)
    assert refused.value.reason == "CopyWouldBePlain"
    assert not [key for key in banks.target.objects if "/sites/" in f"/{key}"]


def test_a_copy_takes_it_along_under_the_other_banks_key() -> None:
    banks = Pair(source_keks=(KEK,), target_keks=(OTHER_KEK,))
    back_up(banks.source)
    banks.copy(len(CONTENT))
    assert banks.bank_b().escrowed_key(SITE, BACKUP) == SECRET


def test_the_independent_reader_gets_container_and_key(tmp_path: Path) -> None:
    store = MemoryStore()
    back_up(store)
    output = tmp_path / "volume.luks"
    done = restore(dump(store, tmp_path), output, key_file(tmp_path, KEK))
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == CONTENT
    assert Path(f"{output}.passphrase").read_text() == PAYLOAD.hex()


@pytest.mark.parametrize("escrowed", [False, True])
@pytest.mark.parametrize("image_key", [None, KEY_ID])
@pytest.mark.parametrize("status", ["queued", "active"])
def test_ciphertext_goes_only_into_an_image_that_names_a_key(
    escrowed: bool, image_key: str | None, status: str
) -> None:
    """And what is not ciphertext only into one that names none."""
    store, glance = MemoryStore(), FakeGlance()
    if escrowed:
        back_up(store)
    else:
        back_up_plain(store, CONTENT, keks=(KEK,))
    glance.add(IMAGE, CONTENT)
    if status == "queued":
        glance.images[IMAGE] = Image()
    glance.images[IMAGE].encryption_key_id = image_key
    bank = bank_on(store, "site-b", read_only=True, keks=(KEK,))
    transfer = RestoreTransfer(SITE, BACKUP, 1, IMAGE, len(CONTENT))
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    if escrowed == (image_key is not None):
        run_restore(transfer, bank, glance.api(), meter)
        assert glance.images[IMAGE].data == CONTENT
        return
    with pytest.raises(DataCorrupt, match="new VolumeRestore") as refused:
        run_restore(transfer, bank, glance.api(), meter)
    assert refused.value.reason == "StatusLost"
    assert glance.puts == 0


def hostile(**changes: Any) -> dict[str, Any]:
    fields = KEY.to_fields()
    key = {**fields["key"], **changes.pop("key", {})}
    return {**fields, "key": key, **changes}


@pytest.mark.parametrize(
    "fields",
    [
        hostile(key={"payload": ""}),
        hostile(key={"payload": "not base64!"}),
        hostile(key={"payload": base64.b64encode(b"k" * (MAX_PAYLOAD_BYTES + 1)).decode()}),
        hostile(key={"payload": "A" * 10_000_000}),
        hostile(key={"payload": None}),
        hostile(key={"bit_length": -1}),
        hostile(key={"bit_length": 1 << 60}),
        hostile(key={"secret_type": "x" * 300}),
        hostile(key={"algorithm": 7}),
        hostile(provider="x" * 300),
        hostile(key_size_bits=-1),
        hostile(cipher=None),
        {},
    ],
)
def test_hostile_keys_are_refused_and_never_repeated(fields: dict[str, Any]) -> None:
    with pytest.raises(DataCorrupt) as refused:
        EscrowedKey.parse(Fields.parse(json.dumps(fields).encode(), "k"))
    assert len(refused.value.message) < 200
    assert "not base64!" not in refused.value.message


@pytest.mark.parametrize("size", [1, 32, 64, MAX_PAYLOAD_BYTES])
def test_any_payload_comes_through(size: int) -> None:
    key = replace(KEY, secret=replace(SECRET, payload=os.urandom(size)))
    assert EscrowedKey.parse(Fields.parse(json.dumps(key.to_fields()).encode(), "k")) == key
