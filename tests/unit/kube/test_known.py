"""Which events are a reason to run, and whom they wake."""

from __future__ import annotations

from typing import Any

from cinderbank.kube.known import BACKUP_BANK, VOLUME_BACKUP, KnownObjects, key_of, known_of


def raw(
    kind: str = VOLUME_BACKUP,
    name: str = "nightly",
    uid: str = "u-1",
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"namespace": "team", "name": name, "uid": uid, "generation": 1, **metadata},
        "spec": spec or {},
        "status": status or {},
    }


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def test_our_own_status_writes_are_no_reason_to_run() -> None:
    known = KnownObjects()
    assert known.see(raw()).must_run
    assert not known.see(raw(status={"phase": "Imaging"})).must_run
    assert known.see(raw(generation=2)).must_run
    assert known.see(raw(generation=2, deletionTimestamp="now")).must_run


def test_a_re_created_object_is_another_one() -> None:
    known = KnownObjects()
    known.see(raw())
    assert known.see(raw(uid="u-2")).must_run
    assert len(known.keys()) == 2


def test_finished_objects_rest() -> None:
    status = {"phase": "Completed", "outcome": {"final": True}, "observedGeneration": 1}
    known = KnownObjects()
    assert not known.see(raw(status=status)).must_run
    assert known.see(raw(status=status, generation=2)).must_run
    assert known.see(raw(status=status, deletionTimestamp="now")).must_run


def test_a_bank_that_becomes_ready_wakes_who_needs_it() -> None:
    known = KnownObjects()
    waiting = key_of(raw(spec={"bankRef": {"name": "main"}}))
    known.see(raw(spec={"bankRef": {"name": "main"}}))
    known.see(raw(name="other", uid="u-2", spec={"bankRef": {"name": "second"}}))
    bank = raw(BACKUP_BANK, "main", "b-1")
    assert known.see(bank).wakes == (waiting,)
    assert known.see(bank).wakes == ()
    assert known.see({**bank, "status": READY}).wakes == (waiting,)
    assert known.see({**bank, "status": {**READY, "lastValidationTime": "x"}}).wakes == ()
    assert known.drop(key_of(bank)) == (waiting,)


def test_restores_name_their_bank_or_their_backup() -> None:
    by_id = {"source": {"bank": {"bankRef": {"name": "main"}}}}
    by_object = {"source": {"backupRef": {"name": "nightly"}}}
    assert known_of(raw(spec=by_id)).references == {(BACKUP_BANK, "main")}
    assert known_of(raw(spec=by_object)).references == {(VOLUME_BACKUP, "nightly")}


def test_nonsense_in_a_status_harms_nothing() -> None:
    for status in ({"conditions": 7}, {"phase": []}, {"conditions": [None]}, {"outcome": "x"}):
        known_of(raw(status=status))
    known_of({**raw(), "status": None, "spec": None})


def test_what_a_list_does_not_show_any_more_is_found() -> None:
    known = KnownObjects()
    kept, lost = raw(), raw(name="lost", uid="u-2")
    known.see(kept)
    known.see(lost)
    before = known.keys()
    late = raw(name="late", uid="u-3")
    known.see(late)  # came while the list was on its way
    assert known.missing({key_of(kept)}, VOLUME_BACKUP, before) == [key_of(lost)]


def test_phases_are_counted_with_their_zeros() -> None:
    known = KnownObjects()
    known.see(raw())
    known.see(raw(uid="u-2", status={"phase": "Completed"}))
    counted = known.phases(VOLUME_BACKUP)
    assert (counted["Pending"], counted["Completed"], counted["Failed"]) == (1, 1, 0)
    assert "Failed" in counted
