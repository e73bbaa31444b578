"""What a backup does next: a pure total function of one look at everything.

    Pending ──► Snapshotting ──► Cloning ──► Imaging ──► Transferring ──► Committing ──► CleaningUp ──► Completed
       │             │              │           │             │               │
       └─────────────┴──────────────┴─── failed or canceled ──┴───────────────┘──────► CleaningUp ──► Failed | Canceled

Rules, top to bottom, the first that answers wins:

| rule | when | step |
|---|---|---|
| ended | the outcome is final | finalizer on or off; DeleteFromBank when deleted with policy Delete; Idle |
| untouched | deleted before we put our finalizer on | Idle |
| committed | the bank holds our seal | Conclude(Completed), then clean-up, then Finish; Failed if not ours |
| ending | it failed or was canceled | clean-up in the cloud, then in the bank, then Finish |
| canceled | spec.cancel, or deleted | Conclude(Canceled) |
| source | no volume is pinned yet | GiveBack, Conclude(Failed), AddFinalizer, MintBackupId, PinSource |
| guarded | our finalizer was taken off | AddFinalizer |
| session | our intent is not in the bank | OpenSession, or Conclude(Failed: SessionBroken) |
| transport | how it goes through Glance is not chosen yet | ChooseTransport |
| sealing | the manifest is there and nothing runs | Seal, or Conclude(Failed: it is not ours) |
| transfer | a transfer runs or has ended | Wait, ForgetTransfer, FallBack, Conclude(Failed) |
| image, volume, snapshot | from the farthest stage back | see backup_stages |

Clean-up: transfer, images, volumes, snapshots, then the settle window of whatever was begun and never
seen, then (if nothing was committed) the session in the bank. It deletes all that carries our tag.
"""

from __future__ import annotations

from dataclasses import replace

from cinderbank.domain import cleanup, encryption, given_snapshot, intents
from cinderbank.domain.backup_source import source_problem
from cinderbank.domain.backup_stages import (
    NOT_READ,
    READY_VOLUME,
    image_stage,
    unconverted,
)
from cinderbank.domain.backup_steps import (
    BackupObserved,
    BackupStep,
    ChooseTransport,
    DeleteFromBank,
    DiscardSession,
    MintBackupId,
    OpenSession,
    PinSource,
    Seal,
)
from cinderbank.domain.claim import claimed
from cinderbank.domain.deletion import ended_step, held_step
from cinderbank.domain.errors import CinderbankError, DataCorrupt, Retryable, SourceGone
from cinderbank.domain.facts import (
    GIB,
    BankFacts,
    TransferFailed,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.domain.failure import held_back
from cinderbank.domain.record import (
    DeletionPolicy,
    Incremental,
    Memory,
    Outcome,
    Phase,
)
from cinderbank.domain.stages import fail, first_usable
from cinderbank.domain.steps import AddFinalizer, Conclude, Finish, GiveBack, Idle, Wait
from cinderbank.domain.transfer_rules import transfer_step
from cinderbank.domain.transport import for_backup

CREATES = (intents.SESSION, intents.SNAPSHOT, intents.VOLUME, intents.IMAGE)

NOT_THE_VOLUME = frozenset({"ImageSizeMismatch", *NOT_READ})
"""Reasons of a transfer that has looked at a qcow2 or VDI image and can not take the volume from it."""


def next_step(o: BackupObserved) -> BackupStep:
    """The one step that comes next. Total, pure; an effect is held back while a back-off runs."""
    step = next(step for rule in RULES if (step := rule(o)) is not None)
    step = encryption.key_first(step, o.images, o.memory) or step
    return held_back(step, o.memory, o.now) or step


def absorbed(o: BackupObserved) -> BackupObserved:
    """The same look, with what it teaches put into its memory."""
    memory = o.memory
    memory = intents.sighted(memory, intents.SNAPSHOT, [s.id for s in o.snapshots])
    memory = intents.sighted(memory, intents.VOLUME, [v.id for v in o.volumes])
    memory = intents.sighted(memory, intents.IMAGE, encryption.own_image_ids(o.images, memory))
    if o.bank is not None and o.bank.intent:
        memory = intents.done(memory, intents.SESSION)
    if o.bank is not None and o.bank.sealed:
        memory = replace(
            intents.done(memory, intents.SEAL),
            manifest_digest=memory.manifest_digest or o.bank.manifest_digest,
        )
    if o.bank is not None and o.bank.base_id is not None:
        memory = replace(memory, base_id=o.bank.base_id)
    if o.bank is not None and o.bank.content_format is not None:
        memory = replace(memory, content_format=o.bank.content_format)
    if isinstance(o.transfer, TransferSucceeded):
        memory = replace(memory, content_hash=o.transfer.content_hash)
    memory = encryption.with_image_size(_with_recovery_point(o, memory), o.images)
    return replace(o, memory=_with_busy_since(o, memory))


def _with_recovery_point(o: BackupObserved, memory: Memory) -> Memory:
    """The first `available` snapshot says of which moment and how large the data is.

    The size is the snapshot's, not the volume's: the volume may be extended at any time.
    """
    if memory.snapshot_taken_at is not None or memory.source is None:
        return memory
    snapshot = o.given or first_usable(o.snapshots, frozenset({"error"}))
    intent = intents.find(memory, intents.SNAPSHOT)
    if snapshot is None or snapshot.status != "available" or (intent is None and o.given is None):
        return memory
    begun_at = given_snapshot.taken_at(o, snapshot) if intent is None else intent.at
    return replace(
        memory,
        snapshot_taken_at=snapshot.created_at or begun_at,
        size_bytes=snapshot.size_gib * GIB,
        source=replace(memory.source, size_gib=snapshot.size_gib),
    )


def _with_busy_since(o: BackupObserved, memory: Memory) -> Memory:
    if o.source is None or o.source.status in READY_VOLUME:
        return intents.drop(memory, intents.BUSY)
    if intents.find(memory, intents.BUSY) is not None:
        return memory
    return intents.begun(memory, intents.BUSY, o.now, creates=False)


def ended(o: BackupObserved) -> BackupStep | None:
    if o.memory.outcome is None or not o.memory.outcome.final:
        return None
    return ended_step(
        o.identity,
        keeps_end_product=o.memory.outcome.phase is Phase.COMPLETED
        and o.request.deletion_policy is DeletionPolicy.DELETE,
        delete_end_product=lambda: _delete_from_bank(o),
    )


def _delete_from_bank(o: BackupObserved) -> DeleteFromBank | Wait | None:
    if o.request.hold:
        return held_step(o.identity.name)
    if o.memory.backup_id is None or intents.is_done(o.memory, intents.FREE):
        return None
    return DeleteFromBank(o.memory.backup_id)


def untouched(o: BackupObserved) -> BackupStep | None:
    return Idle() if o.identity.deleting and not o.identity.has_finalizer else None


def committed(o: BackupObserved) -> BackupStep | None:
    outcome = o.memory.outcome
    if outcome is not None and outcome.phase is Phase.COMPLETED:
        return _cloud_step(o) or Finish(replace(outcome, final=True))
    if o.bank is not None and o.bank.sealed and o.bank.not_ours:
        return fail(o, _not_ours(o.bank)) if outcome is None else None
    if o.bank is not None and o.bank.sealed:
        # Also when we were about to fail or to cancel: the seal went through, it is a backup.
        what = f"backup {o.memory.backup_id}"
        if o.memory.source is not None:
            what += f" of volume {o.memory.source.id}"
        message = f"{what} is committed to the bank"
        return Conclude(Outcome(Phase.COMPLETED, "Committed", message, o.now))
    return None


def ending(o: BackupObserved) -> BackupStep | None:
    if o.memory.outcome is None:
        return None
    return _cloud_step(o) or _session_step(o) or Finish(replace(o.memory.outcome, final=True))


def canceled(o: BackupObserved) -> BackupStep | None:
    if not (o.request.cancel or o.identity.deleting):
        return None
    if o.bank is None and intents.find(o.memory, intents.SEAL) is not None:
        return _bank_unknown(o)  # it may be committed already: look first
    why = "by spec.cancel" if o.request.cancel else "because the object was deleted"
    message = f"canceled {why} before it was committed; nothing of it is kept"
    return Conclude(Outcome(Phase.CANCELED, "Canceled", message, o.now))


def source(o: BackupObserved) -> BackupStep | None:
    if o.memory.source is not None and o.memory.backup_id is not None:
        return None
    problem = source_problem(o)
    if isinstance(problem, Retryable):
        return GiveBack(problem)
    if problem is not None or o.source is None:
        return fail(o, problem or SourceGone("the volume was not looked up"))
    if not o.identity.has_finalizer:
        return AddFinalizer()
    if o.memory.backup_id is None:
        return MintBackupId()
    if o.claim is None or o.claim_volume is None:
        return PinSource(o.source)
    return PinSource(o.source, claimed(o.claim, o.claim_volume))


def guarded(o: BackupObserved) -> BackupStep | None:
    return None if o.identity.has_finalizer else AddFinalizer()


def session(o: BackupObserved) -> BackupStep | None:
    if o.bank is None:
        return _bank_unknown(o)
    if o.bank.intent or o.memory.backup_id is None or o.memory.source is None:
        return None
    if intents.is_done(o.memory, intents.SESSION):
        return fail(
            o,
            SourceGone(
                "the bank no longer holds the session of this backup: its maintenance (or somebody) "
                "took it for abandoned. What was stored is not used; make a new VolumeBackup",
                reason="SessionBroken",
            ),
        )
    incremental = o.request.incremental is Incremental.AUTO
    return OpenSession(o.memory.backup_id, o.memory.source.id, incremental)


def transport(o: BackupObserved) -> BackupStep | None:
    if o.memory.transport is not None:
        return None
    if o.memory.source is not None and o.memory.source.encrypted:
        return ChooseTransport(encryption.RAW)
    return ChooseTransport(for_backup(o.request.transport, o.previous))


def sealing(o: BackupObserved) -> BackupStep | None:
    if o.bank is None or not o.bank.manifest or isinstance(o.transfer, TransferRunning):
        return None
    if o.memory.backup_id is None or o.memory.source is None:
        return None
    if o.bank.not_ours:
        return fail(o, _not_ours(o.bank))
    size = o.memory.size_bytes
    if o.bank.size_bytes is not None and size is not None and o.bank.size_bytes != size:
        message = (
            f"the manifest in the bank is of {o.bank.size_bytes} bytes, the volume has {size}; "
            "it is not committed"
        )
        return fail(o, DataCorrupt(message, reason="ManifestSizeMismatch"))
    return Seal(o.memory.backup_id, o.memory.source.id)


def _not_ours(bank: BankFacts) -> DataCorrupt:
    return DataCorrupt(bank.not_ours, reason=bank.not_ours_reason)


def transfer(o: BackupObserved) -> BackupStep | None:
    if (
        isinstance(o.transfer, TransferFailed)
        and o.transfer.reason in NOT_THE_VOLUME
        and o.memory.transport is not None
        and o.memory.transport.is_sparse
    ):
        return unconverted(o, DataCorrupt(o.transfer.message, reason=o.transfer.reason))
    return transfer_step(
        o.transfer,
        memory=o.memory,
        now=o.now,
        no_progress=o.request.timeouts.no_progress,
        retry_limit=o.request.retry_limit,
    )


RULES = (
    ended,
    untouched,
    committed,
    ending,
    canceled,
    source,
    guarded,
    session,
    transport,
    sealing,
    transfer,
    image_stage,
)
"""The last one always answers."""


def _cloud_step(o: BackupObserved) -> BackupStep | None:
    """Clean-up in the cloud; None when nothing of ours is there, nor can turn up."""
    seed = o.identity.uid
    return (
        cleanup.transfer_step(o.transfer)
        or cleanup.image_step(o.images, o.memory, o.now, seed)
        or cleanup.volume_step(o.volumes, o.memory, o.now, seed)
        or cleanup.snapshot_step(o.snapshots, o.memory, o.now, seed)
        or cleanup.settle_step(o.memory, CREATES, o.now)
    )


def _session_step(o: BackupObserved) -> BackupStep | None:
    """Clean-up in the bank, of what was never committed."""
    if o.memory.backup_id is None or intents.find(o.memory, intents.SESSION) is None:
        return None
    if intents.is_done(o.memory, intents.DISCARD):
        return None
    if o.bank is None:
        return _bank_unknown(o)
    if o.bank.sealed:
        return None  # not by us (`committed`): to readers it is a backup, and is left as it is
    # A seal that is still on its way would make data of what is discarded here.
    return cleanup.settle_step(o.memory, [intents.SEAL], o.now) or DiscardSession(
        o.memory.backup_id
    )


def _bank_unknown(o: BackupObserved) -> GiveBack:
    return GiveBack(o.bank_error or CinderbankError("the bank could not be read"))
