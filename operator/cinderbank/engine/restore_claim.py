"""A restore into a claim: its looks and effects; the decisions are domain.claim_stage's."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from cinderbank.domain import intents, names
from cinderbank.domain.claim_stage import is_ours
from cinderbank.domain.claim_steps import (
    ClaimLook,
    ClaimStep,
    CreateClaim,
    CreatePersistentVolume,
    PinClaim,
)
from cinderbank.domain.record import Memory, Temporary
from cinderbank.domain.restore_stages import BEING_MADE
from cinderbank.domain.restore_steps import RestoreObserved
from cinderbank.domain.steps import DeleteClaim, DeletePersistentVolume
from cinderbank.engine.world import RestoreWorld


def with_plan_look(seen: RestoreObserved, world: RestoreWorld) -> RestoreObserved:
    """Before anything is made: whether it may be at all, and what is there of the asked name."""
    if seen.request.claim is None or seen.memory.claim is not None:
        return seen
    world.claims.check_allowed()
    return with_claim(seen, world)


def with_claim(seen: RestoreObserved, world: RestoreWorld) -> RestoreObserved:
    """The claim and the persistent volume as they are now. Raises what the port raises."""
    if seen.request.claim is None:
        return seen
    persistent = world.claims.find_persistent_volume(
        names.persistent_volume_name(seen.identity.uid)
    )
    claim = world.claims.find_claim(seen.request.claim.name)
    return replace(seen, claims=ClaimLook(claim, persistent))


def with_bind_look(seen: RestoreObserved, world: RestoreWorld) -> RestoreObserved:
    """Once the new volume is there; the zone only while there is no persistent volume."""
    if seen.request.claim is None or all(v.status in BEING_MADE for v in seen.volumes):
        return seen
    seen = with_claim(seen, world)
    zone = seen.volumes[0].availability_zone
    if seen.claims.persistent_volume is not None or not zone:
        return seen
    return replace(
        seen, claims=replace(seen.claims, has_nodes_in_zone=world.claims.has_nodes_in(zone))
    )


def with_leftovers(seen: RestoreObserved, world: RestoreWorld) -> RestoreObserved:
    """What of it is to be taken away; nothing is asked where nothing was begun."""
    if intents.find(seen.memory, intents.PERSISTENT_VOLUME) is None:
        return seen
    return with_claim(seen, world)


def perform_claim_step(step: ClaimStep, world: RestoreWorld, memory: Memory) -> Memory:
    """Exactly one effect; returns memory with what it answered."""
    match step:
        case PinClaim(claim=claim):
            return replace(memory, claim=claim)
        case CreatePersistentVolume(wanted=persistent):
            uid = world.claims.create_persistent_volume(persistent)
            return intents.answered(memory, step.intent, uid)
        case CreateClaim(wanted=claim):
            return intents.answered(memory, step.intent, world.claims.create_claim(claim))
        case DeleteClaim(name=name, resource_id=uid):
            world.claims.delete_claim(name, uid)
            return memory
        case DeletePersistentVolume(name=name, resource_id=uid):
            world.claims.delete_persistent_volume(name, uid)
            return memory
        case _:
            assert_never(step)


def made_for_claim(seen: RestoreObserved) -> tuple[Temporary, ...]:
    """What is there because of this restore, while it is not done."""
    claim, persistent = seen.claims.claim, seen.claims.persistent_volume
    found: list[Temporary] = []
    if claim is not None and is_ours(seen, claim):
        found.append(Temporary("persistentvolumeclaim", claim.uid, claim.name))
    if persistent is not None and is_ours(seen, persistent):
        found.append(Temporary("persistentvolume", persistent.uid, persistent.name))
    return tuple(found)
