"""What a restore would do, for spec.dryRun: told, and nothing made."""

from __future__ import annotations

from dataclasses import dataclass

from cinderbank.domain.facts import BackupId, ChunkLook, QuotaLeft
from cinderbank.domain.placement import Placement, Warned


@dataclass(frozen=True, slots=True)
class Survey:
    """What only a dry run looks at. `quota` None: this cloud does not say."""

    quota: QuotaLeft | None
    chunks: ChunkLook


@dataclass(frozen=True, slots=True)
class Plan:
    """Placement and transport stand beside it in memory."""

    backup_id: BackupId
    size_gib: int
    """Of the new volume."""
    bytes_to_move: int
    """From the bank into Glance, before compression."""
    survey: Survey
    warnings: tuple[Warned, ...]


def make_plan(
    *,
    backup_id: BackupId,
    size_gib: int,
    bytes_to_move: int,
    placement: Placement,
    survey: Survey,
    salvage: bool,
) -> Plan:
    warnings = (*placement.warnings, *_quota(survey.quota, size_gib), *_chunks(survey, salvage))
    return Plan(backup_id, size_gib, bytes_to_move, survey, warnings)


def summary(plan: Plan) -> str:
    """The message of a dry run that is Completed."""
    said = "a dry run: nothing was made; status.plan tells what a restore would do"
    return "; ".join([said, *(each.message for each in plan.warnings)])


def _quota(quota: QuotaLeft | None, size_gib: int) -> list[Warned]:
    if quota is None:
        return []
    short = []
    if quota.gib is not None and quota.gib < size_gib:
        short.append(f"{quota.gib} GiB, and {size_gib} are needed")
    if quota.volumes is not None and quota.volumes < 1:
        short.append("no volume")
    if not short:
        return []
    left = "; ".join(short)
    message = f"the project's quota leaves {left}: free or raise it, or the restore waits for it"
    return [Warned("QuotaTooSmall", message)]


def _chunks(survey: Survey, salvage: bool) -> list[Warned]:
    look, warnings = survey.chunks, []
    if look.problem:
        warnings.append(Warned("BackupDamaged", look.problem))
    if look.missing:
        then = "they would be zeros" if salvage else "spec.salvage restores what is left"
        message = f"{look.missing} of {look.looked} chunks that were looked at are lost: {then}"
        warnings.append(Warned("BackupDamaged", message))
    if look.looked < look.total and not look.problem:
        message = f"only {look.looked} of {look.total} chunks were looked at"
        warnings.append(Warned("NotAllLookedAt", message))
    return warnings
