"""What a restore does next: a pure total function of one look at everything.

    Pending ──► Transferring ──► CreatingVolume ──► CleaningUp ──► Completed
       │             │                 │
       └─────── failed or canceled ────┴──────────► CleaningUp ──► Failed | Canceled

Rules, top to bottom, the first that answers wins:

| rule | when | step |
|---|---|---|
| ended | the outcome is final | finalizer on or off; onDelete Delete: DeleteVolume; Idle |
| untouched | deleted before we put our finalizer on | Idle |
| restored | the volume is ready, its claim bound | what is left of a copy, DeleteImage until it is gone, DeleteSecret, UnpinReader, Finish |
| ending | it failed or was canceled | transfer, claim, copy and snapshot, volume, image, secret, UnpinReader, Finish |
| canceled | spec.cancel, or deleted | Conclude(Canceled) |
| resolving | a selector names the backup, and it is not resolved | Conclude(Failed), Resolve |
| claim | a claim is asked for and not planned yet | Conclude(Failed), GiveBack, AddFinalizer, PinClaim |
| backup | no backup is pinned yet | Conclude(Failed), AddFinalizer, PinBackup |
| dry | spec.dryRun | Conclude(Completed) |
| encryption_lost | the volume was encrypted, and memory lost how | Conclude(Failed) |
| guarded | our finalizer was taken off | AddFinalizer |
| pinned | the bank was not told that we read | PinReader |
| drill | spec.drill, and the scratch volume is read back or compared | see drill_stage |
| volume, transfer, image | from the farthest stage back | see restore_stages, claim_stage |

How it goes through Glance, and which type and zone the new volume gets, is chosen when the backup is
pinned: see domain.transport and domain.placement. A dry run ends there.

A volume is the user's once the outcome is Completed; before that it is ours to delete.
"""

from __future__ import annotations

from dataclasses import replace

from cinderbank.domain import (
    claim_stage,
    cleanup,
    drill_stage,
    encryption,
    flatten_stage,
    intents,
)
from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.cleanup import DELETABLE_VOLUME
from cinderbank.domain.deletion import ended_step
from cinderbank.domain.errors import CinderbankError, InvalidSpec, ResourceFailed, SourceGone
from cinderbank.domain.facts import TransferAbsent, VolumeFacts, size_gib
from cinderbank.domain.failure import held_back
from cinderbank.domain.placement import Offered, Placement, place
from cinderbank.domain.plan import Plan, Survey, make_plan, summary
from cinderbank.domain.record import (
    Memory,
    OnDelete,
    Outcome,
    Phase,
    Transport,
    TransportChoice,
)
from cinderbank.domain.restore_encryption import encryption_lost, secret_cleanup
from cinderbank.domain.restore_stages import RECEIVING, volume_stage
from cinderbank.domain.restore_steps import (
    FoundBackup,
    PinBackup,
    PinReader,
    Resolve,
    RestoreObserved,
    RestoreStep,
    UnpinReader,
)
from cinderbank.domain.selection import Chosen, NoneChosen
from cinderbank.domain.stages import USELESS_VOLUME, fail
from cinderbank.domain.steps import AddFinalizer, Conclude, Finish, Idle, Wait
from cinderbank.domain.transport import for_restore

OF_COPY = (intents.SNAPSHOT, intents.COPY)
CREATES = (intents.SECRET, intents.IMAGE, intents.VOLUME, intents.DRILL_IMAGE, *OF_COPY)


def next_step(o: RestoreObserved) -> RestoreStep:
    """The one step that comes next. Total, pure; an effect is held back while a back-off runs."""
    step = next(step for rule in RULES if (step := rule(o)) is not None)
    return held_back(step, o.memory, o.now) or step


def absorbed(o: RestoreObserved) -> RestoreObserved:
    """The same look, with what it teaches put into its memory."""
    memory = o.memory
    copies = flatten_stage.copies(o)
    memory = intents.sighted(memory, intents.VOLUME, [v.id for v in o.volumes if v not in copies])
    memory = intents.sighted(memory, intents.IMAGE, [i.id for i in o.images])
    memory = intents.sighted(memory, intents.SECRET, [s.id for s in o.secrets])
    memory = claim_stage.claim_sighted(o, memory)
    memory = intents.sighted(memory, intents.DRILL_IMAGE, [i.id for i in o.drill_images])
    memory = intents.sighted(memory, intents.SNAPSHOT, [s.id for s in o.snapshots])
    memory = intents.sighted(memory, intents.COPY, [v.id for v in copies])
    in_order = flatten_stage.in_order(replace(o, memory=memory))
    usable = [volume for volume in in_order if volume.status not in USELESS_VOLUME]
    if usable and memory.outcome is None and not o.request.drill:
        memory = replace(memory, created_volume_id=usable[0].id)
    return replace(o, memory=_with_abandoned_since(o, memory))


def _with_abandoned_since(o: RestoreObserved, memory: Memory) -> Memory:
    """Since when an image has been receiving data that nobody sends."""
    receiving = any(image.status in RECEIVING for image in o.images)
    if not receiving or not isinstance(o.transfer, TransferAbsent):
        return intents.drop(memory, intents.BUSY)
    if intents.find(memory, intents.BUSY) is not None:
        return memory
    return intents.begun(memory, intents.BUSY, o.now, creates=False)


def ended(o: RestoreObserved) -> RestoreStep | None:
    if o.memory.outcome is None or not o.memory.outcome.final:
        return None
    return ended_step(
        o.identity,
        keeps_end_product=o.memory.outcome.phase is Phase.COMPLETED
        and o.request.on_delete is OnDelete.DELETE
        and not (o.request.dry_run or o.request.drill),
        delete_end_product=lambda: _delete_end_product(o),
    )


def _delete_end_product(o: RestoreObserved) -> RestoreStep | None:
    return (
        claim_stage.claim_kept(o)
        or claim_stage.claim_cleanup(o)
        or cleanup.volume_step(_restored_volume(o), o.memory, o.now, o.identity.uid)
    )


def _restored_volume(o: RestoreObserved) -> list[VolumeFacts]:
    """The one that was handed over, and no other that carries our tag: it is the user's since then,
    and Cinder's own backups, like any script, give its metadata to copies of it."""
    return [volume for volume in o.volumes if volume.id == o.memory.created_volume_id]


def untouched(o: RestoreObserved) -> RestoreStep | None:
    return Idle() if o.identity.deleting and not o.identity.has_finalizer else None


def restored(o: RestoreObserved) -> RestoreStep | None:
    outcome = o.memory.outcome
    if outcome is None or outcome.phase is not Phase.COMPLETED or o.request.drill:
        return None
    return (
        cleanup.transfer_step(o.transfer)
        or (_delete_end_product(o) if _goes_before_image(o) else None)
        or flatten_stage.left(o)
        or cleanup.image_step(o.images, o.memory, o.now, o.identity.uid)
        or secret_cleanup(o)
        or cleanup.settle_step(o.memory, [intents.IMAGE, intents.SECRET, *OF_COPY], o.now)
        or _unpin(o)
        or Finish(replace(outcome, final=True))
    )


def _goes_before_image(o: RestoreObserved) -> bool:
    """A clone that is to go with the object: the image can not go before it."""
    delete = o.request.on_delete is OnDelete.DELETE
    return o.identity.deleting and delete and o.memory.flattens is False


def ending(o: RestoreObserved) -> RestoreStep | None:
    """Volumes that can go, then the image, then the others. So ends every drill, too: first of all goes
    the image by which its volume is read back, as that is uploading until it is done.

    A volume may be a clone of the image, which can not go before it; and a volume that still copies
    from the image can not be deleted, but fails at once when the image goes.
    """
    if o.memory.outcome is None:
        return None
    seed = o.identity.uid
    deletable = [volume for volume in o.volumes if volume.status in DELETABLE_VOLUME]
    return (
        cleanup.transfer_step(o.transfer)
        or claim_stage.claim_cleanup(o)
        or cleanup.image_step(o.drill_images, o.memory, o.now, seed)
        or flatten_stage.cleared(o)
        or cleanup.volume_step(deletable, o.memory, o.now, seed)
        or cleanup.image_step(o.images, o.memory, o.now, seed)
        or cleanup.volume_step(o.volumes, o.memory, o.now, seed)
        or secret_cleanup(o)
        or cleanup.settle_step(o.memory, (*CREATES, *claim_stage.CREATES), o.now)
        or drill_stage.verdict(o)
        or _unpin(o)
        or Finish(replace(o.memory.outcome, final=True))
    )


def canceled(o: RestoreObserved) -> RestoreStep | None:
    if not (o.request.cancel or o.identity.deleting):
        return None
    why = "by spec.cancel" if o.request.cancel else "because the object was deleted"
    message = f"canceled {why} before the volume was ready; nothing of it is kept"
    return Conclude(Outcome(Phase.CANCELED, "Canceled", message, o.now))


def resolving(o: RestoreObserved) -> RestoreStep | None:
    if o.request.selector is None or o.memory.resolved is not None or o.memory.source is not None:
        return None
    match o.selected:
        case Chosen() as chosen:
            return Resolve(chosen)
        case NoneChosen(reason=reason, message=message):
            return fail(o, SourceGone(message, reason=reason))
        case None:
            return Wait(poll_seconds(0), "Pending", "looking for the backup that fits")


def claim(o: RestoreObserved) -> RestoreStep | None:
    memory, request = o.memory, o.request
    if request.claim is None or memory.claim or memory.source is not None:
        return None
    if o.found is None:
        return None  # the next rule says so
    return claim_stage.planned_claim(o, request.size_gib or size_gib(o.found.size_bytes))


def backup(o: RestoreObserved) -> RestoreStep | None:
    if o.memory.source is not None:
        return None
    if o.found is None:
        return fail(
            o,
            SourceGone(
                f"the bank holds no backup {o.request.backup_id}{_of(o)}: it was never committed, or it "
                "has been deleted. Check the id, and the bucket and prefix of the BackupBank",
                reason="BackupNotFound",
            ),
        )
    needed = size_gib(o.found.size_bytes)
    asked = o.request.size_gib
    if asked is not None and asked < needed:
        return fail(
            o,
            InvalidSpec(
                f"spec.target.sizeGiB is {asked}, and the backup is of a volume of {needed} GiB; "
                f"leave it out or ask for {needed} at least",
                reason="TargetTooSmall",
            ),
        )
    try:
        choice = _transport(o, o.found, asked or needed)
        if not o.identity.has_finalizer and not o.request.dry_run:
            return AddFinalizer()
        placement = place(o.request.wanted, o.found.source, o.offered or Offered((), None))
        if o.found.source.encryption is not None:
            size = o.found.size_bytes
            placement = encryption.placed(placement, o.found.source, size, asked or needed)
    except CinderbankError as error:
        return fail(o, error)
    plan = None if o.survey is None else _plan(o, o.found, choice, placement, o.survey)
    return PinBackup(o.found, choice, placement, plan)


def _transport(o: RestoreObserved, found: FoundBackup, target_gib: int) -> TransportChoice:
    if found.source.encryption is not None:
        if o.request.drill:
            raise encryption.no_drill()
        return encryption.restore_transport(o.request.transport)
    return for_restore(
        o.request.transport,
        size_bytes=found.size_bytes,
        data_bytes=found.data_bytes,
        content_format=found.content_format,
        target_gib=target_gib,
    )


def _plan(
    o: RestoreObserved,
    found: FoundBackup,
    choice: TransportChoice,
    placement: Placement,
    survey: Survey,
) -> Plan:
    only_data = choice.transport is Transport.QCOW2 and found.data_bytes is not None
    return make_plan(
        backup_id=o.request.backup_id,
        size_gib=o.request.size_gib or size_gib(found.size_bytes),
        bytes_to_move=(found.data_bytes or 0) if only_data else found.size_bytes,
        placement=placement,
        survey=survey,
        salvage=o.request.salvage,
    )


def _of(o: RestoreObserved) -> str:
    """Site and volume, as far as they were asked for."""
    site = o.memory.resolved.site if o.memory.resolved else o.request.site
    said = f" of site {site}" if site else ""
    return f"{said}, volume {o.request.volume_id}" if o.request.volume_id else said


def dry(o: RestoreObserved) -> RestoreStep | None:
    """Whatever its memory says, a dry run never comes to what is below."""
    if not o.request.dry_run:
        return None
    if o.memory.plan is None:
        lost = "the status of this object no longer holds the plan of its dry run"
        return fail(o, ResourceFailed(lost, reason="StatusLost"))
    return Conclude(Outcome(Phase.COMPLETED, "DryRun", summary(o.memory.plan), o.now))


def guarded(o: RestoreObserved) -> RestoreStep | None:
    return None if o.identity.has_finalizer else AddFinalizer()


def pinned(o: RestoreObserved) -> RestoreStep | None:
    if intents.is_done(o.memory, intents.PIN) or o.memory.site is None:
        return None
    return PinReader(o.memory.site, o.request.backup_id)


RULES = (
    ended,
    untouched,
    restored,
    ending,
    canceled,
    resolving,
    claim,
    backup,
    dry,
    encryption_lost,
    guarded,
    pinned,
    drill_stage.drill_stage,
    volume_stage,
)
"""The last one always answers."""


def _unpin(o: RestoreObserved) -> UnpinReader | None:
    if intents.find(o.memory, intents.PIN) is None or intents.is_done(o.memory, intents.UNPIN):
        return None
    return UnpinReader(o.request.backup_id)
