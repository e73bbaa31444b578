"""The stage of a restore that gives the new volume to a claim, and the way back from it.

    volume ready ──► PersistentVolume (reserved for the claim) ──► PersistentVolumeClaim ──► Bound

| the claim | then |
|---|---|
| is not there | it is made, and asks for our persistent volume by name |
| is there, unbound and fits (class, size, access modes, volume mode) | Kubernetes binds it to ours |
| is bound or asks for another volume, or does not fit | Failed, at best before anything is made |

Both have names that follow from the object (the restore's uid, spec), so a lost answer needs no search:
what is there is looked at, and taken for ours only by the label with our uid. The way back is claim,
then persistent volume, then Cinder volume. A claim that was there before us is never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping

from cinderbank.domain import intents
from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.claim import (
    ClaimedVolume,
    ClaimFacts,
    NewClaim,
    NewPersistentVolume,
    PersistentVolumeFacts,
    VolumeMode,
    is_bound,
)
from cinderbank.domain.claim_steps import CreateClaim, CreatePersistentVolume, PinClaim
from cinderbank.domain.cleanup import paced
from cinderbank.domain.deletion import HELD, HELD_BEAT_SECONDS
from cinderbank.domain.errors import CinderbankError, Conflict, InvalidSpec, ResourceFailed
from cinderbank.domain.facts import GIB, VolumeFacts
from cinderbank.domain.fidelity import kept_metadata
from cinderbank.domain.names import persistent_volume_name
from cinderbank.domain.record import ClaimRequest, Memory
from cinderbank.domain.restore_steps import RestoreObserved
from cinderbank.domain.stages import age_seconds, before_fresh_try, fail
from cinderbank.domain.steps import (
    AddFinalizer,
    Conclude,
    DeleteClaim,
    DeletePersistentVolume,
    GiveBack,
    Wait,
)

CREATES = (intents.PERSISTENT_VOLUME, intents.CLAIM)

OF_A_CLUSTER = ("cinder.csi.openstack.org/", "csi.storage.k8s.io/")
"""Metadata of the driver's: which cluster, claim and persistent volume a volume is of. What deletes a
cluster's volumes goes by it, so a restored volume must not carry another one's."""


def planned_claim(
    o: RestoreObserved, size_gib: int
) -> PinClaim | AddFinalizer | Conclude | GiveBack:
    """How the claim is to be, before anything is made: as was asked, else as the claim is that is there,
    else as it was when the backup was made."""
    asked = o.request.claim
    assert asked is not None
    plan = _plan(o, asked)
    if o.claims.persistent_volume is not None:
        return fail(o, _taken(plan.persistent_volume))
    if o.claims.claim is not None:
        problem = _misfit(o.claims.claim, plan, size_gib)
        if isinstance(problem, Conflict):
            return GiveBack(problem)
        if problem is not None:
            return fail(o, problem)
    return PinClaim(plan) if o.identity.has_finalizer else AddFinalizer()


def _plan(o: RestoreObserved, asked: ClaimRequest) -> ClaimedVolume:
    there, recorded = o.claims.claim, None if o.found is None else o.found.claim
    as_it_is = ClaimedVolume(name=asked.name, persistent_volume="", access_modes=("ReadWriteOnce",))
    if there is not None:
        as_it_is = ClaimedVolume(
            name=asked.name,
            persistent_volume="",
            storage_class=there.storage_class,
            access_modes=there.access_modes,
            volume_mode=there.volume_mode,
            fs_type="" if recorded is None else recorded.fs_type,
        )
    elif recorded is not None:
        as_it_is = recorded
    wanted_class = asked.storage_class
    fs_type = as_it_is.fs_type if asked.fs_type is None else asked.fs_type
    volume_mode = asked.volume_mode or as_it_is.volume_mode
    return ClaimedVolume(
        name=asked.name,
        persistent_volume=persistent_volume_name(o.identity.uid),
        storage_class=as_it_is.storage_class if wanted_class is None else wanted_class,
        access_modes=asked.access_modes or as_it_is.access_modes or ("ReadWriteOnce",),
        volume_mode=volume_mode,
        fs_type=fs_type if volume_mode is VolumeMode.FILESYSTEM else "",
    )


def claim_stage(
    o: RestoreObserved, volume: VolumeFacts
) -> CreatePersistentVolume | CreateClaim | Conclude | GiveBack | Wait | None:
    """What comes next once the volume is ready; None when no claim was asked for, or it is bound."""
    asked, plan = o.request.claim, o.memory.claim
    if asked is None or plan is None:
        return None
    claim, persistent = o.claims.claim, o.claims.persistent_volume
    problem = None if claim is None else _misfit(claim, plan, volume.size_gib)
    if isinstance(problem, Conflict):
        return GiveBack(problem)
    if persistent is not None:
        problem = problem or _not_ours(o, persistent, plan, volume)
    if problem is not None:
        return fail(o, problem)
    uid = o.identity.uid
    if persistent is None:
        zone = volume.availability_zone if o.claims.has_nodes_in_zone else ""
        wanted = NewPersistentVolume(
            plan, volume.id, volume.size_gib, asked.reclaim_policy, uid, zone
        )
        gone = ResourceFailed(
            f"PersistentVolume {plan.persistent_volume} vanished", reason="PersistentVolumeGone"
        )
        first = before_fresh_try(o, intents.PERSISTENT_VOLUME, gone)
        return first or CreatePersistentVolume(wanted)
    if claim is None:
        gone = ResourceFailed(f"PersistentVolumeClaim {plan.name} vanished", reason="ClaimLost")
        first = before_fresh_try(o, intents.CLAIM, gone)
        return first or CreateClaim(NewClaim(plan, volume.size_gib, uid))
    if claim.phase == "Bound" and is_bound(claim, persistent):
        return None
    message = f"PersistentVolumeClaim {claim.name} is {claim.phase}; Kubernetes binds it to {persistent.name}"
    age = age_seconds(o, intents.CLAIM) or age_seconds(o, intents.PERSISTENT_VOLUME)
    return Wait(poll_seconds(age), "BindingClaim", message)


def _misfit(claim: ClaimFacts, plan: ClaimedVolume, size_gib: int) -> CinderbankError | None:
    """Why a claim that is there can not have the volume; Conflict when it is going away."""
    what = f'PersistentVolumeClaim "{claim.name}"'
    if claim.deleting:
        return Conflict(
            f"{what} is being deleted; waiting until it is gone", reason="ClaimDeleting"
        )
    if claim.volume_name not in ("", plan.persistent_volume):
        return InvalidSpec(
            f'{what} has the volume "{claim.volume_name}" already, and a restore never takes a claim '
            "over; delete the claim, or name another one in spec.target.persistentVolumeClaim.name",
            reason="ClaimBound",
        )
    wrong = [
        f"{field} {has!r} is not {wanted!r}"
        for field, has, wanted in (
            ("storageClassName", claim.storage_class, plan.storage_class),
            ("volumeMode", str(claim.volume_mode), str(plan.volume_mode)),
        )
        if has != wanted
    ]
    if more := sorted(set(claim.access_modes) - set(plan.access_modes)):
        wrong.append(f"accessModes {', '.join(more)} are not asked for by the restore")
    if claim.requested_bytes > size_gib * GIB:
        wrong.append(f"it requests more than {size_gib} GiB (see spec.target.sizeGiB)")
    if claim.wants_other_data:
        wrong.append("it has a selector or a data source of its own")
    if not wrong:
        return None
    return InvalidSpec(
        f"{what} is there already and does not fit: {'; '.join(wrong)}. Delete it, or restore as it is",
        reason="ClaimIncompatible",
    )


def _not_ours(
    o: RestoreObserved, found: PersistentVolumeFacts, plan: ClaimedVolume, volume: VolumeFacts
) -> ResourceFailed | None:
    reserved = (found.claim_namespace, found.claim_name) == (o.identity.namespace, plan.name)
    if found.restore_uid != o.identity.uid or found.volume_handle != volume.id or not reserved:
        return _taken(found.name)
    if found.deleting or found.phase in ("Released", "Failed"):
        return ResourceFailed(
            f"PersistentVolume {found.name} is {'being deleted' if found.deleting else found.phase}: "
            "somebody deleted it or its claim before the restore was done",
            reason="ClaimLost",
        )
    return None


def _taken(name: str) -> ResourceFailed:
    return ResourceFailed(
        f"there is a PersistentVolume {name} already, and it is not what this restore has made; it is "
        "left alone. Delete it and make a new VolumeRestore",
        reason="PersistentVolumeTaken",
    )


# The way back.


def is_ours(o: RestoreObserved, found: ClaimFacts | PersistentVolumeFacts) -> bool:
    return found.restore_uid == o.identity.uid


def claim_sighted(o: RestoreObserved, memory: Memory) -> Memory:
    """Memory after a look that showed what of this stage is ours."""
    claim, persistent = o.claims.claim, o.claims.persistent_volume
    if persistent is not None and is_ours(o, persistent):
        memory = intents.sighted(memory, intents.PERSISTENT_VOLUME, [persistent.uid])
    if claim is not None and is_ours(o, claim):
        memory = intents.sighted(memory, intents.CLAIM, [claim.uid])
    return memory


def claim_cleanup(o: RestoreObserved) -> DeleteClaim | DeletePersistentVolume | Wait | None:
    """Take away what this stage has made; None when nothing of it is there."""
    claim, persistent = o.claims.claim, o.claims.persistent_volume
    if claim is not None and is_ours(o, claim):
        delete = DeleteClaim(claim.name, claim.uid)
        if claim.deleting:
            return _going(o, delete, "when no Pod uses it")
        return paced(delete, o.memory, o.now, o.identity.uid)
    if persistent is not None and is_ours(o, persistent):
        gone = DeletePersistentVolume(persistent.name, persistent.uid)
        if persistent.deleting:
            return _going(o, gone, "when its claim is")
        return paced(gone, o.memory, o.now, o.identity.uid)
    return None


def claim_kept(o: RestoreObserved) -> Wait | None:
    """Deleting the restored volume waits for a claim that is not ours to delete."""
    claim, persistent = o.claims.claim, o.claims.persistent_volume
    if claim is None or persistent is None or is_ours(o, claim) or not is_bound(claim, persistent):
        return None
    return Wait(
        HELD_BEAT_SECONDS,
        HELD,
        f"PersistentVolumeClaim {claim.name} was there before this restore and has the restored volume, "
        "so it is not deleted with it; delete the claim, or set spec.onDelete to Detach to let only the "
        "object go",
    )


def _going(o: RestoreObserved, delete: DeleteClaim | DeletePersistentVolume, when: str) -> Wait:
    age = age_seconds(o, delete.intent)
    return Wait(poll_seconds(age), "CleaningUp", f"{delete.kind} {delete.name} is gone {when}")


# What the volume itself gets.


def volume_name(o: RestoreObserved, source: VolumeFacts) -> str:
    """For a claim that of its persistent volume, as the driver does: the driver takes a volume of the
    same project and of the name it is about to make for its own."""
    if o.request.volume_name or o.request.claim is None:
        return o.request.volume_name or source.name
    return persistent_volume_name(o.identity.uid)


def source_metadata(o: RestoreObserved, source: VolumeFacts) -> Mapping[str, str]:
    """The source's, and for a claim the driver's keys with what is true now."""
    kept = kept_metadata(source.metadata)
    if o.request.claim is None:
        return kept
    return {
        **{key: value for key, value in kept.items() if not key.startswith(OF_A_CLUSTER)},
        "csi.storage.k8s.io/pvc/namespace": o.identity.namespace,
        "csi.storage.k8s.io/pvc/name": o.request.claim.name,
        "csi.storage.k8s.io/pv/name": persistent_volume_name(o.identity.uid),
    }
