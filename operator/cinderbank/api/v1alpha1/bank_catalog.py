"""spec.catalog and status.catalog of a BackupBank: which backups of the bank have a RecoveryPoint."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.duration import Duration, parse_duration
from cinderbank.api.v1alpha1.model import ApiModel, Ruled, SiteName, Time, VolumeUUID
from cinderbank.domain.facts import VolumeId
from cinderbank.ports.catalog import Choice

MAX_ENTRIES = 10_000

Count = Annotated[int, Field(ge=0)]


class CatalogSelector(ApiModel):
    """Backups that fit everything that is set here."""

    sites: Annotated[tuple[SiteName, ...], Field(max_length=64)] = Field(
        default=(), description="Only backups that one of these sites wrote. Empty: of all sites."
    )
    volume_ids: Annotated[tuple[VolumeUUID, ...], Field(max_length=256)] = Field(
        default=(),
        description="Only backups of one of these volumes, by their ids in Cinder. Empty: of all.",
    )
    tags: Annotated[
        dict[str, Annotated[str, Field(max_length=255)]],
        Field(max_length=16),
        Ruled(
            "self.all(key, key.size() >= 1 && key.size() <= 63)",
            "a tag's name must have 1 to 63 characters",
        ),
    ] = Field(
        default_factory=dict,
        description="Only backups that have all of these tags (VolumeBackup.spec.tags). They stand in"
        " the manifest: each backup is read once for it, and again after a restart of the operator.",
    )
    max_age: Duration | None = Field(
        default=None,
        description="Only backups that were begun within this time, for example 168h. Older ones are"
        " not even listed, so it makes the sync of a large bank cheap.",
    )


class Catalog(ApiModel):
    """RecoveryPoints: objects that mirror the newest backups of the bank, whichever site wrote them."""

    interval: Duration = Field(
        default="10m", description="Time between two syncs with the bank, for example 10m."
    )
    max_entries: Annotated[int, Field(ge=0, le=MAX_ENTRIES)] = Field(
        default=1000,
        description="At most so many RecoveryPoints: of the newest backups that the selector chooses."
        " With 0 there are none.",
    )
    selector: CatalogSelector | None = Field(
        default=None, description="Which backups; all when nothing is set in it."
    )
    suspend: bool = Field(
        default=False,
        description="Do not sync: the RecoveryPoints stay as they are. To have none set maxEntries: 0.",
    )

    @property
    def tags(self) -> dict[str, str]:
        """What a backup's tags must hold."""
        return {} if self.selector is None else self.selector.tags

    def to_choice(self, now: datetime) -> Choice:
        """Raises InvalidSpec."""
        chosen, since = self.selector or CatalogSelector(), None
        if chosen.max_age is not None:
            since = now - parse_duration(chosen.max_age, "spec.catalog.selector.maxAge")
        return Choice(
            limit=self.max_entries,
            sites=frozenset(chosen.sites),
            volume_ids=frozenset(VolumeId(each.lower()) for each in chosen.volume_ids),
            since=since,
        )


class CatalogStatus(ApiModel):
    """The last sync of the bank's RecoveryPoints."""

    observed_generation: Count | None = Field(
        default=None, description="The metadata.generation whose spec.catalog it was made for."
    )
    last_sync_time: Time | None = Field(
        default=None, description="When a sync last ended with everything in place."
    )
    last_try_time: Time | None = Field(
        default=None, description="When it was last tried, whatever came of it."
    )
    backups: Count = Field(
        default=0,
        description="Backups in the bank that sites, volumeIDs and maxAge of the selector choose, but for"
        " those that its tags leave out.",
    )
    recovery_points: Count = Field(default=0, description="Those that have a RecoveryPoint.")
    left_out: Count = Field(
        default=0, description="Those that have none because maxEntries newer ones have."
    )
    pending: Count = Field(
        default=0,
        description="RecoveryPoints that are still to be made or removed; the sync goes on.",
    )
    unreadable: Count = Field(
        default=0,
        description="RecoveryPoints of backups that cannot be read here (damaged, hostile, encrypted with"
        " another key); their condition Ready says why.",
    )
    foreign_keys: Count = Field(
        default=0,
        description="Keys among the bank's seals that are not of its form; they are passed over.",
    )
    names_taken: Count = Field(
        default=0,
        description="Backups without a RecoveryPoint because an object that is not of this BackupBank has"
        " its name.",
    )
    reason: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Why the last sync did not end; unset when it did."
    )
    message: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="The same in words, with the way out."
    )
