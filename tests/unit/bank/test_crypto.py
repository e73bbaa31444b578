"""Keys and encrypted envelopes: what is bound to what, and that nothing else opens."""

from __future__ import annotations

import base64
import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.bank import chunk, key_layout, layout
from cinderbank.bank.chunk import HEADER_BYTES, Envelope
from cinderbank.bank.crypto import DataKey, KeyEncryptionKey
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.wrapped_keys import WrappedKey, encoded_kek, parse_kek, unwrap
from cinderbank.domain.errors import CinderbankError, DataCorrupt, InvalidSpec
from cinderbank.domain.facts import BackupId
from tests.fakes.backups import BACKUP, SITE, VOLUME, back_up, sample, write_chunks
from tests.fakes.object_store import MemoryStore

BANK_ID = "77777777-2222-4333-8444-555555555555"
TEXT = b"all work and no play makes jack " * 32
KEK = KeyEncryptionKey(bytes(range(32)))
KEY = layout.chunk(SITE, BACKUP, 1, 0)


def keys(store: MemoryStore | None = None) -> Envelope:
    return Envelope(Keyring(store or MemoryStore(), BANK_ID, [KEK]).writing())


@given(st.binary(min_size=1, max_size=3000), st.integers(1, 20))
def test_round_trip(piece: bytes, times: int) -> None:
    plain, envelope = piece * times, keys()
    body = envelope.encode(plain, KEY)
    assert bytes(envelope.decode(body, len(plain), KEY)) == plain
    assert len(body) <= chunk.max_object_bytes(len(plain))
    assert piece * 2 not in body or len(piece) < 8


@pytest.mark.parametrize("plain", [TEXT, os.urandom(300)], ids=["zstd", "raw"])
def test_p2_every_flipped_bit_and_truncation_is_refused(plain: bytes) -> None:
    envelope = keys()
    body = envelope.encode(plain, KEY)
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CinderbankError):
            envelope.decode(bytes(damaged), len(plain), KEY)
    for end in range(len(body)):
        with pytest.raises(CinderbankError):
            envelope.decode(body[:end], len(plain), KEY)
    with pytest.raises(DataCorrupt):
        envelope.decode(body + b"\0", len(plain), KEY)


@pytest.mark.parametrize(
    "other",
    [
        layout.chunk(SITE, BACKUP, 1, 1),
        layout.chunk(SITE, BACKUP, 2, 0),
        layout.chunk("site-b", BACKUP, 1, 0),
        layout.chunk(SITE, "01KAPZ5J3VQ6Z0C4M8T2R7W9XF", 1, 0),
    ],
    ids=["chunk", "attempt", "site", "backup"],
)
def test_p2_an_object_opens_where_it_was_stored_and_nowhere_else(other: str) -> None:
    envelope = keys()
    body = envelope.encode(TEXT, KEY)
    with pytest.raises(DataCorrupt, match="stored elsewhere"):
        envelope.decode(body, len(TEXT), other)


def test_p2_an_object_of_another_bank_does_not_open() -> None:
    data_key = DataKey.new(BANK_ID, 0)
    elsewhere = DataKey(data_key.id, BACKUP, data_key.secret)
    sealed = data_key.encrypt(TEXT, bytes(HEADER_BYTES), bytes(12), KEY)
    assert data_key.decrypt(sealed, bytes(HEADER_BYTES), bytes(12), KEY) == TEXT
    assert elsewhere.decrypt(sealed, bytes(HEADER_BYTES), bytes(12), KEY) is None


def test_p2_what_is_not_encrypted_is_refused_where_it_should_be() -> None:
    plain = Envelope().encode(TEXT, KEY)
    with pytest.raises(DataCorrupt, match="is not encrypted"):
        keys().decode(plain, len(TEXT), KEY)


def test_p3_no_nonce_comes_twice_and_equal_chunks_look_different() -> None:
    envelope = keys()
    bodies = [envelope.encode(TEXT, KEY) for _ in range(3000)]
    nonces = Counter(chunk.Header.parse(body, KEY).nonce for body in bodies)
    assert max(nonces.values()) == 1
    assert len({body[HEADER_BYTES:] for body in bodies}) == len(bodies)


def test_p3_over_attempts_and_backups_no_two_messages_share_key_and_nonce() -> None:
    store = MemoryStore()
    bank = back_up(store, sample("trst"), keks=[KEK])
    for number in range(4):
        back_up(store, sample("trst"), backup_id=f"01KAPZ5J3VQ6Z0C4M8T2R7W9Y{number}", keks=[KEK])
    # A second attempt writes the same plain bytes under keys of its own.
    keys_again, bank_id = bank.writing_keys(), bank.open().bank_id
    again = BackupId("01KAPZ5J3VQ6Z0C4M8T2R7W9ZZ")
    bank.open_session(SITE, again, VOLUME)
    for attempt in (1, 2):
        write_chunks(
            store,
            sample("trst"),
            bank_id=bank_id,
            attempt=attempt,
            keys=keys_again,
            backup_id=again,
        )
    seen = [
        (header.data_key_id, header.nonce)
        for key, body in store.objects.items()
        if chunk.is_envelope(body)
        for header in [chunk.Header.parse(body, key)]
    ]
    assert len(seen) == len(set(seen)) > 25
    assert {header for header, _ in seen} == {bank.writing_keys().current.id}


@settings(max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_the_same_bytes_have_another_hash_in_another_bank(one: bytes, other: bytes) -> None:
    first = DataKey(bytes(16), BANK_ID, one).hash_key()
    second = DataKey(bytes(16), BANK_ID, other).hash_key()
    assert (chunk.digest(TEXT, first) == chunk.digest(TEXT, second)) == (one == other)
    assert chunk.digest(TEXT, first) != chunk.digest(TEXT)


def test_p4_a_wrong_data_key_is_told_by_its_commitment() -> None:
    store = MemoryStore()
    data_key = Keyring(store, BANK_ID, [KEK]).writing().current
    key = key_layout.wrapped_key(data_key.id.hex(), KEK.id)
    # A second key that our KEK really wraps there: AES-GCM opens it, the commitment does not.
    forged = DataKey(data_key.id, BANK_ID, os.urandom(32))
    nonce, wrapped = KEK.wrap(forged, key)
    found = WrappedKey.parse(store.objects[key], key)
    mixed = WrappedKey(BANK_ID, found.data_key_id, KEK.id, nonce, wrapped, found.commitment)
    store.objects[key] = mixed.dump()
    with pytest.raises(DataCorrupt, match="commitment"):
        unwrap(store, BANK_ID, found.data_key_id, KEK)


def test_every_damage_to_a_wrapped_key_is_told() -> None:
    store = MemoryStore()
    data_key = Keyring(store, BANK_ID, [KEK]).writing().current
    key = key_layout.wrapped_key(data_key.id.hex(), KEK.id)
    body = store.objects[key]
    for bit in range(0, len(body) * 8, 3):
        store.objects[key] = body
        store.flip(key, bit)
        try:
            found = unwrap(store, BANK_ID, data_key.id.hex(), KEK)
        except CinderbankError:
            continue
        # In the stamp's list of optional features or a field's case of hex: harmless.
        assert found == data_key


@pytest.mark.parametrize("where", ["data key", "kek"])
def test_a_wrapped_key_opens_only_where_it_was_stored(where: str) -> None:
    store = MemoryStore()
    data_key = Keyring(store, BANK_ID, [KEK]).writing().current
    other = KeyEncryptionKey(bytes(range(1, 33)))
    body = store.objects[key_layout.wrapped_key(data_key.id.hex(), KEK.id)]
    data_key_id = "0" * 32 if where == "data key" else data_key.id.hex()
    kek = KEK if where == "data key" else other
    store.objects[key_layout.wrapped_key(data_key_id, kek.id)] = body
    with pytest.raises(DataCorrupt, match="of another"):
        unwrap(store, BANK_ID, data_key_id, kek)


def test_keys_do_not_show_themselves() -> None:
    data_key = DataKey.new(BANK_ID, 0)
    ring = Keyring(MemoryStore(), BANK_ID, [KEK])
    secrets = [KEK.secret, data_key.secret, ring.writing().hash_key]
    shown = repr([KEK, data_key, ring, ring.writing(), Envelope(ring.writing())])
    for secret in secrets:
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


def test_what_is_a_key_and_what_is_none() -> None:
    secret = os.urandom(32)
    for content in (secret, base64.b64encode(secret), base64.b64encode(secret) + b"\n"):
        assert parse_kek(content, "f").secret == secret
    assert parse_kek(encoded_kek(KEK), "f") == KEK
    for content in (
        b"", b"short", secret + b"\n", secret.hex().encode(), bytes(32), b"a" * 32,
        b"correct horse battery staple 123", b"*" * 44, os.urandom(33),
    ):  # fmt: skip
        with pytest.raises(InvalidSpec) as raised:
            parse_kek(content, "entry a of Secret x")
        assert raised.value.reason == "BankKeyInvalid"
        assert "generate" in raised.value.message
        assert content.decode("latin-1")[:12] not in raised.value.message or len(content) < 8


def test_ids_are_what_the_document_says() -> None:
    """Fixed answers: a change of any label would make old banks unreadable."""
    data_key = DataKey(bytes(range(16)), BANK_ID, bytes(range(32)))
    assert KEK.id == "49599ab9c99eb3c5"
    assert data_key.commitment().hex()[:16] == "d2e34c5662f69a97"
    assert data_key.hash_key().hex()[:16] == "13bd24f5a9a01745"
