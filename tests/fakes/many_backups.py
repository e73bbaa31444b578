"""Backups by the thousand: manifest and seal as the writer makes them, without any chunk."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from cinderbank.bank import catalog, layout
from cinderbank.bank import manifest as manifests
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.manifest import Manifest, PartRef, SessionRef
from cinderbank.bank.marks import Seal
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.catalog import PointKey
from cinderbank.domain.facts import BackupId, VolumeId
from tests.fakes.backups import CHUNK, NOW, SITE, VOLUME, describe

BANK_ID = "77777777-2222-4333-8444-555555555555"


def numbered_id(number: int) -> BackupId:
    """Begun `number` seconds after NOW."""
    moment = NOW + timedelta(seconds=number)
    return BackupId(f"{catalog._id_prefix(moment)}{number:016d}")


def numbered(number: int, site: str = SITE, volume_id: VolumeId = VOLUME) -> PointKey:
    return PointKey(site, numbered_id(number), volume_id)


def seal_one(store: ObjectStore, key: PointKey, **about: Any) -> None:
    """Put manifest and seal of `key`; `about` replaces what its manifest says of the backup."""
    described = replace(
        describe(bytes(CHUNK)),
        backup_id=key.backup_id,
        volume_id=key.volume_id,
        site=key.site,
        snapshot_at=catalog.begun_at(key.backup_id),
        **about,
    )
    manifest = Manifest(
        description=described,
        geometry=Geometry(CHUNK, CHUNK, 3),
        parts=(PartRef(1, "0" * 64),),
        sessions=(SessionRef(key.site, key.backup_id),),
        bank_id=BANK_ID,
    )
    seal_body(store, key, manifests.dump(manifest))


def seal_body(store: ObjectStore, key: PointKey, body: bytes) -> None:
    """Put `body` as the manifest of `key`, whatever it is, and a seal that names it."""
    store.put(layout.manifest(key.site, key.volume_id, key.backup_id), body)
    seal = Seal("OK", manifests.object_digest(body), CHUNK, 0)
    store.put(layout.seal(key.site, key.backup_id, key.volume_id), seal.dump())
