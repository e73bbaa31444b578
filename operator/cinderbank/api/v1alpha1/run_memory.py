"""status <-> domain.Memory, and Memory + Report -> status; pure, for backup and restore alike.

Nothing read is trusted: whoever may patch a status may have written it. A value that we must
remember and can not read is InvalidSpec, because guessing would orphan what exists in the cloud;
what we only tell is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from cinderbank.api.v1alpha1 import run_status as told
from cinderbank.api.v1alpha1.claim import claim_status
from cinderbank.api.v1alpha1.conditions import merge_conditions
from cinderbank.api.v1alpha1.model import clipped
from cinderbank.api.v1alpha1.progress import at_rest, progress_of
from cinderbank.api.v1alpha1.run_status import (
    FORMAT_LIMIT,
    NAME_LIMIT,
    TEMPORARIES_LIMIT,
    TEXT_LIMIT,
    RunStatus,
)
from cinderbank.domain.errors import BrokenInvariant
from cinderbank.domain.facts import BackupId, SnapshotId, VolumeEncryption, VolumeFacts, VolumeId
from cinderbank.domain.record import (
    Intent,
    LastError,
    Memory,
    Outcome,
    Phase,
    Report,
    Transport,
)

TOLD_ONLY = frozenset(
    {
        "observedGeneration",
        "phase",
        "conditions",
        "progress",
        "temporaries",
        "copies",
        "verifiedTime",
    }
)
"""Fields of status that are never read back here: nonsense in them stops nothing."""

S = TypeVar("S", bound=RunStatus)


def read_remembered(model: type[S], raw: object) -> S:
    """The fields of a status that we must remember; the others are left out. Raises InvalidSpec."""
    if isinstance(raw, Mapping):
        raw = {
            name: value
            for name, value in raw.items()
            if name not in TOLD_ONLY and value is not None
        }
    return model.read(raw, "status")


def memory_of_run(status: RunStatus) -> Memory:
    """The part of Memory that a backup and a restore share."""
    return Memory(
        backup_id=None if status.backup_id is None else BackupId(status.backup_id),
        site=status.site,
        started_at=status.start_time,
        source=None if status.source is None else _volume_facts(status.source),
        claim=None
        if status.persistent_volume_claim is None
        else status.persistent_volume_claim.to_domain(),
        snapshot_taken_at=status.snapshot_time,
        size_bytes=status.size_bytes,
        content_hash=status.content_hash,
        content_format=status.content_format,
        transport=None if status.transport is None else Transport(status.transport),
        transport_reason=status.transport_reason or "",
        intents=tuple(
            Intent(each.step, each.time, each.tries, each.resource_id, each.seen)
            for each in status.intents
        ),
        transfer_attempt=status.transfer_attempt,
        failures=status.failures,
        next_try_at=status.next_try_time,
        last_error=None if status.last_error is None else _last_error(status.last_error),
        manifest_digest=status.manifest_digest,
        outcome=None if status.outcome is None else _outcome(status.outcome),
        completed_at=status.completion_time,
    )


def _volume_facts(source: told.SourceVolume) -> VolumeFacts:
    return VolumeFacts(
        id=VolumeId(source.volume_id),
        name=source.name,
        status=source.status,
        size_gib=source.size_gib,
        description=source.description,
        volume_type=source.volume_type,
        availability_zone=source.availability_zone,
        bootable=source.bootable,
        encrypted=source.encrypted,
        snapshot_id=None if source.snapshot_id is None else SnapshotId(source.snapshot_id),
        created_at=source.created_time,
        metadata=source.metadata,
        image_metadata=source.image_metadata,
        encryption=None if source.encryption is None else _encryption(source.encryption),
    )


def _encryption(told_of: told.VolumeEncryption) -> VolumeEncryption:
    return VolumeEncryption(
        told_of.provider,
        told_of.cipher,
        told_of.key_size_bits,
        told_of.control_location,
        told_of.key_id,
    )


def _last_error(error: told.LastError) -> LastError:
    return LastError(
        reason=error.reason,
        message=error.message,
        at=error.time,
        retryable=error.retryable,
        request_id=error.request_id,
    )


def _outcome(outcome: told.Outcome) -> Outcome:
    return Outcome(
        phase=Phase(outcome.phase),
        reason=outcome.reason,
        message=outcome.message,
        at=outcome.time,
        final=outcome.final,
    )


def status_of_run(
    model: type[S],
    memory: Memory,
    report: Report,
    previous: object,
    generation: int,
    now: datetime,
    **more: Any,
) -> S:
    """Status as it is to be written; `previous` is the status as read (conditions keep their times,
    the last progress stays to be seen), `more` what only this kind has.

    Raises BrokenInvariant when the schema can not hold it: better here than a refused write.
    """
    before = previous if isinstance(previous, Mapping) else {}
    fields = {
        "observed_generation": generation,
        "phase": report.phase,
        "conditions": merge_conditions(
            report.conditions, before.get("conditions"), generation, now
        ),
        "progress": _progress(report, before.get("progress")),
        "temporaries": [_temporary(each) for each in report.temporaries[:TEMPORARIES_LIMIT]],
        **_remembered(memory),
        **more,
    }
    try:
        return model.model_validate(fields)
    except ValidationError as wrong:
        raise BrokenInvariant(f"status does not fit its own schema: {wrong}") from wrong


def _progress(report: Report, previous: object) -> told.Progress | None:
    if report.progress is not None:
        return progress_of(report.progress)
    try:
        last = told.Progress.model_validate(previous)
    except ValidationError:
        return None
    return at_rest(last, completed=report.phase is Phase.COMPLETED)


def _temporary(each: Any) -> dict[str, str]:
    return {"kind": each.kind, "id": each.id, "name": clipped(each.name, NAME_LIMIT)}


def _remembered(memory: Memory) -> dict[str, Any]:
    return {
        "backup_id": memory.backup_id,
        "site": memory.site,
        "start_time": memory.started_at,
        "source": None if memory.source is None else _source(memory.source),
        "persistent_volume_claim": claim_status(memory.claim),
        "snapshot_time": memory.snapshot_taken_at,
        "size_bytes": memory.size_bytes,
        "content_hash": memory.content_hash,
        "content_format": memory.content_format and clipped(memory.content_format, FORMAT_LIMIT),
        "transport": memory.transport,
        "transport_reason": memory.transport_reason or None,
        "intents": [
            {
                "step": each.step,
                "time": each.at,
                "tries": each.tries,
                "resource_id": each.resource_id,
                "seen": each.seen,
            }
            for each in memory.intents
        ],
        "transfer_attempt": memory.transfer_attempt,
        "failures": memory.failures,
        "next_try_time": memory.next_try_at,
        "last_error": None if memory.last_error is None else _told(memory.last_error),
        "manifest_digest": memory.manifest_digest,
        "outcome": None if memory.outcome is None else _told(memory.outcome),
        "completion_time": memory.completed_at,
    }


def _source(facts: VolumeFacts) -> dict[str, Any]:
    return {
        "volume_id": facts.id,
        "name": clipped(facts.name, NAME_LIMIT),
        "size_gib": facts.size_gib,
        "description": clipped(facts.description, TEXT_LIMIT),
        "volume_type": facts.volume_type,
        "availability_zone": facts.availability_zone,
        "bootable": facts.bootable,
        "encrypted": facts.encrypted,
        "encryption": None if facts.encryption is None else asdict(facts.encryption),
        "status": facts.status,
        "snapshot_id": facts.snapshot_id,
        "created_time": facts.created_at,
        "metadata": dict(facts.metadata),
        "image_metadata": dict(facts.image_metadata),
    }


def _told(ended: LastError | Outcome) -> dict[str, Any]:
    fields = asdict(ended)
    return {
        **fields,
        "reason": clipped(ended.reason, NAME_LIMIT),
        "message": clipped(ended.message, TEXT_LIMIT),
        "time": fields["at"],
    }
