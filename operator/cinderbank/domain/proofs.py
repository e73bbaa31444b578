"""What is known of whether a backup can be restored: found by drills and by checks, of any site."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from cinderbank.domain.facts import BackupId
from cinderbank.domain.record import Condition

VERIFIED = "Verified"
"""Type of the condition."""

Backup = tuple[str, BackupId]
"""Site that wrote it, and id."""


class Found(StrEnum):
    """As it stands in the keys of a bank."""

    DRILL = "drill"
    """Restored into a scratch volume, which held every byte of it."""
    FULL = "full"
    """A check read every chunk."""
    SAMPLE = "sample"
    """A check looked for every chunk, and read some."""
    DIFFERENT = "different"
    """A drill has restored other bytes. It stays, whatever is found later, until it is taken back."""


REASONS = {
    Found.DRILL: "RestoreDrill",
    Found.FULL: "BankCheckFull",
    Found.SAMPLE: "BankCheckSample",
    Found.DIFFERENT: "DrillFoundDifference",
}
"""Of the condition Verified."""


@dataclass(frozen=True, slots=True)
class Proof:
    site: str
    backup_id: BackupId
    found: Found
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is known of one backup."""

    verified_at: datetime | None = None
    """The newest proof that it is whole; None when there is none."""
    found: Found | None = None
    """What that one is."""
    different_at: datetime | None = None
    damaged: bool = False
    """A check found that the bank has lost some of it, and nobody mended it since."""

    @property
    def is_verified(self) -> bool:
        return self.verified_at is not None and not self.is_bad

    @property
    def is_bad(self) -> bool:
        return self.damaged or self.different_at is not None


def condition(standing: Standing) -> Condition | None:
    """Verified, of a VolumeBackup; None while nothing is known. Damage that was found goes first."""
    if standing.damaged:
        told = "a check found that the bank has lost some of it; a BankCheck names the bytes"
        return Condition(VERIFIED, "False", "DamageFound", told)
    if standing.different_at is not None:
        told = (
            f"a restore drill of {standing.different_at:%Y-%m-%dT%H:%M:%SZ} got other bytes back; the"
            " status of that VolumeRestore lists them"
        )
        return Condition(VERIFIED, "False", REASONS[Found.DIFFERENT], told)
    if standing.verified_at is None or standing.found is None:
        return None
    told = f"{_SAID[standing.found]} ({standing.verified_at:%Y-%m-%dT%H:%M:%SZ})"
    return Condition(VERIFIED, "True", REASONS[standing.found], told)


_SAID = {
    Found.DRILL: "a restore drill got every byte of it back",
    Found.FULL: "a check read every chunk of it in the bank",
    Found.SAMPLE: "a check found every chunk of it in the bank, and read a sample",
}


def standings(proofs: Iterable[Proof], damaged: Iterable[Backup]) -> dict[Backup, Standing]:
    """Every backup of which anything is known. Order does not matter."""
    known: dict[Backup, Standing] = {}
    for proof in proofs:
        backup = proof.site, proof.backup_id
        known[backup] = _with(known.get(backup, Standing()), proof)
    for backup in damaged:
        known[backup] = replace(known.get(backup, Standing()), damaged=True)
    return known


def _with(before: Standing, proof: Proof) -> Standing:
    if proof.found is Found.DIFFERENT:
        first = before.different_at
        return replace(before, different_at=proof.at if first is None else min(first, proof.at))
    if before.verified_at is not None and (before.verified_at, before.found or "") >= (
        proof.at,
        proof.found,
    ):
        return before
    return replace(before, verified_at=proof.at, found=proof.found)
