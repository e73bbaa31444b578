"""Whether a source volume can be backed up at all, before anything is made."""

from __future__ import annotations

from cinderbank.domain import claim, encryption, given_snapshot
from cinderbank.domain.backup_steps import BackupObserved
from cinderbank.domain.errors import CinderbankError, InvalidSpec, SourceGone

NAMED_AT_MOST = 5
"""So many ids of an ambiguous name are listed; a message is for people."""


def source_problem(o: BackupObserved) -> CinderbankError | None:
    """Why there is nothing to pin, Retryable when there may be later; None when `o.source` can be."""
    if o.request.claim_name is not None and (
        problem := claim.source_problem(o.request.claim_name, o.claim, o.claim_volume)
    ):
        return problem
    if o.request.snapshot_id is not None and o.given is None:
        return given_snapshot.not_found(o)
    if len(o.source_ids) > 1:
        ids = ", ".join(o.source_ids[:NAMED_AT_MOST])
        more = len(o.source_ids) - NAMED_AT_MOST
        return InvalidSpec(
            f'spec.source.volumeName "{o.request.volume_name}" names {len(o.source_ids)} volumes of '
            f"this project: {ids}{f' and {more} more' if more > 0 else ''}; name one by volumeID",
            reason="VolumeNameAmbiguous",
        )
    if o.source is None:
        return not_found(o)
    if o.source.encrypted:
        return encryption.source_problem(
            o.source,
            o.request.encrypted_volumes,
            o.request.transport,
            keeps_secrets=o.keeps_secrets,
        )
    return None


def not_found(o: BackupObserved) -> SourceGone:
    field, value = ("volumeName", o.request.volume_name)
    if o.request.volume_id is not None:
        field, value = ("volumeID", o.request.volume_id)
    if o.given is not None:
        field, value = "snapshotID", f"{o.given.id} (of volume {o.given.volume_id})"
    if o.request.claim_name is not None and o.claim_volume is not None:
        return SourceGone(
            f'PersistentVolumeClaim "{o.request.claim_name}" is of volume '
            f"{o.claim_volume.volume_handle}, and the project of the cloud credentials has no such "
            "volume; check that the credentials are those of the Cinder CSI driver's project",
            reason="VolumeNotFound",
        )
    return SourceGone(
        f'the project of the cloud credentials has no volume with spec.source.{field} "{value}"; '
        "check the value, and that the credentials are those of the volume's project",
        reason="VolumeNotFound",
    )
