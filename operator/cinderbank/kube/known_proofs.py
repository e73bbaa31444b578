"""The drills and checks that policies have made, as the watches tell them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy import drills, verify
from cinderbank.domain.policy.children import (
    NUMBER_LABEL,
    POLICY_LABEL,
    RUN_LABEL,
    VOLUME_LABEL,
    read_number,
    read_run_label,
)
from cinderbank.domain.policy.drills import Drill, DrillState
from cinderbank.domain.policy.verify import MadeCheck
from cinderbank.kube.known import (
    BANK_CHECK,
    VOLUME_BACKUP_POLICY,
    VOLUME_RESTORE,
    Key,
    key_of,
)
from cinderbank.kube.policy_children import condition_of

Owner = tuple[str, str]
"""Namespace and name of a policy."""
Made = TypeVar("Made", Drill, MadeCheck)


class PolicyProofs:
    """The drills and checks of policies that the watches have told; thread-safe."""

    def __init__(self) -> None:
        self._drills: dict[Owner, dict[str, Drill]] = {}
        self._checks: dict[Owner, dict[str, MadeCheck]] = {}
        self._policies: dict[Owner, Key] = {}
        self._lock = threading.Lock()

    def see(self, raw: Mapping[str, Any]) -> Key | None:
        """Take an object in; returns the policy for which something has changed by it."""
        key = key_of(raw)
        policy = (raw["metadata"].get("labels") or {}).get(POLICY_LABEL)
        owner = (key.namespace, policy if isinstance(policy, str) else "")
        with self._lock:
            if key.kind == VOLUME_BACKUP_POLICY:
                self._policies[key.namespace, key.name] = key
            elif key.kind == VOLUME_RESTORE and (drill := drill_of(raw)) is not None:
                return self._put(self._drills, owner, drill)
            elif key.kind == BANK_CHECK and (check := check_of(raw)) is not None:
                return self._put(self._checks, owner, check)
        return None

    def _put(self, known: dict[Owner, dict[str, Made]], owner: Owner, made: Made) -> Key | None:
        mine = known.setdefault(owner, {})
        changed = mine.get(made.name) != made
        mine[made.name] = made
        return self._policies.get(owner) if changed else None

    def drop(self, key: Key) -> None:
        """The object is gone, or another one of its name is there now."""
        with self._lock:
            if key.kind == VOLUME_BACKUP_POLICY:
                owner = key.namespace, key.name
                if self._policies.get(owner) == key:
                    del self._policies[owner]
            elif key.kind == VOLUME_RESTORE:
                _drop(self._drills, key)
            elif key.kind == BANK_CHECK:
                _drop(self._checks, key)

    def drills(self, key: Key) -> tuple[Drill, ...]:
        with self._lock:
            return tuple(self._drills.get((key.namespace, key.name), {}).values())

    def checks(self, key: Key) -> tuple[MadeCheck, ...]:
        with self._lock:
            return tuple(self._checks.get((key.namespace, key.name), {}).values())


def _drop(known: dict[Owner, dict[str, Made]], key: Key) -> None:
    for owner, mine in list(known.items()):
        found = mine.get(key.name)
        if owner[0] == key.namespace and found is not None and found.uid == key.uid:
            del mine[key.name]
            if not mine:
                del known[owner]


def drill_of(raw: Mapping[str, Any]) -> Drill | None:
    """A VolumeRestore as a policy's drill; None when it is none. Reads leniently."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    labels = metadata.get("labels") or {}
    if (raw.get("spec") or {}).get("drill") is not True:
        return None
    if not drills.is_drill(metadata["name"], labels):
        return None
    run_at = read_run_label(labels[RUN_LABEL])
    assert run_at is not None  # is_drill has read it
    state, ready = _state(metadata, status), condition_of(status, "Ready")
    working = state is DrillState.WORKING
    told = not working or (isinstance(status.get("failures"), int) and status["failures"] > 0)
    return Drill(
        metadata["name"],
        metadata["uid"],
        VolumeId(labels[VOLUME_LABEL]),
        run_at,
        read_number(labels.get(NUMBER_LABEL)),
        state,
        str(ready.get("reason", "")) if told else "",
    )


def _state(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> DrillState:
    outcome = status.get("outcome")
    if "deletionTimestamp" in metadata:
        return DrillState.LEAVING
    if not isinstance(outcome, Mapping) or outcome.get("final") is not True:
        return DrillState.WORKING
    verified = condition_of(status, "Verified").get("status")
    states = {"True": DrillState.VERIFIED, "False": DrillState.DIFFERENT}
    return states.get(str(verified), DrillState.FAILED)


def check_of(raw: Mapping[str, Any]) -> MadeCheck | None:
    """A BankCheck as a policy's; None when it is none. Reads leniently."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels = metadata.get("labels") or {}
    run_at = read_run_label(str(labels.get(RUN_LABEL, "")))
    bank = (spec.get("bankRef") or {}).get("name")
    if run_at is None or not isinstance(bank, str):
        return None
    if metadata["name"] != verify.check_name(str(labels.get(POLICY_LABEL, "")), bank, run_at):
        return None
    intact, ready = condition_of(status, "Intact"), condition_of(status, "Ready")
    seed = spec.get("seed")
    return MadeCheck(
        metadata["name"],
        metadata["uid"],
        bank,
        run_at,
        seed if isinstance(seed, int) and 0 <= seed < verify.MOST_SEED else 0,
        str(status.get("phase") or ""),
        str(intact.get("status", "")),
        str((intact or ready).get("reason", "")),
    )
