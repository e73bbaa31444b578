"""Which volumes, and what children are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.domain.facts import VolumeId
from cinderbank.domain.names import BACKUP_TAG, RESTORE_TAG
from cinderbank.domain.policy.children import (
    POLICY_LABEL,
    RUN_LABEL,
    VOLUME_LABEL,
    child_name,
    is_child,
    is_foreign_label,
    labels_of,
    trigger_digest,
)
from cinderbank.domain.policy.selection import (
    Claimed,
    Pattern,
    Selector,
    protectable,
    select,
    within,
)
from tests.fakes.clock import START
from tests.unit.policy.children import volume, volume_id

DB1, DB2 = volume(1, "db-1", metadata={"tier": "gold", "app": "db"}), volume(2, "db-2")
WEB = volume(3, "web", metadata={"tier": "gold"})
TEMPORARY = volume(4, "db-copy", metadata={BACKUP_TAG: "01J"})
RESTORED = volume(5, "db-restored", metadata={RESTORE_TAG: "uid"})
LEAVING = volume(6, "db-old", status="deleting")
ALL = [WEB, TEMPORARY, LEAVING, DB2, RESTORED, DB1]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (Pattern(), Pattern(), []),
        (Pattern(volume_ids=frozenset({WEB.id})), Pattern(), [WEB]),
        (Pattern(volume_names=("db-*",)), Pattern(), [DB1, DB2, RESTORED]),
        (Pattern(volume_names=("db-?",)), Pattern(), [DB1, DB2]),
        (Pattern(volume_names=("DB-*",)), Pattern(), []),
        (Pattern(metadata={"tier": "gold"}), Pattern(), [DB1, WEB]),
        (Pattern(metadata={"tier": "gold", "app": "db"}), Pattern(), [DB1]),
        (Pattern(volume_names=("web",), metadata={"app": "db"}), Pattern(), [DB1, WEB]),
        (Pattern(volume_names=("*",)), Pattern(metadata={"tier": "gold"}), [DB2, RESTORED]),
        (Pattern(volume_names=("*",)), Pattern(volume_names=("db-*",)), [WEB]),
        (Pattern(volume_names=("db-*",)), Pattern(volume_ids=frozenset({DB1.id})), [DB2, RESTORED]),
    ],
)
def test_select(include: Pattern, exclude: Pattern, expected: list[object]) -> None:
    assert list(select(Selector(include, exclude), ALL).volumes) == expected


def test_claims_select_and_exclude() -> None:
    found = select(Selector(Pattern()), ALL, claimed=Claimed(frozenset({WEB.id, volume_id(77)})))
    assert (found.volumes, found.absent) == ((WEB,), (volume_id(77),))
    every = Selector(Pattern(volume_names=("*",)))
    web = Claimed(frozenset({WEB.id}))
    found = select(every, ALL, claimed_out=web)
    assert WEB not in found.volumes
    assert WEB not in select(every, ALL, web, web).volumes
    assert not found.claims_cut
    assert select(every, ALL, claimed_out=Claimed(cut=True)).claims_cut


some_volumes = st.frozensets(st.integers(0, 30))


@given(some_volumes, some_volumes, st.integers(1, 20), st.integers(0, 10))
def test_what_is_backed_up_already_is_never_given_up_for_what_is_new(
    there: frozenset[int], appearing: frozenset[int], most: int, runs: int
) -> None:
    """Volumes come, run after run; `most` of them are backed up, and these stay the same ones."""
    known: set[VolumeId] = set()
    before: tuple[VolumeId, ...] = ()
    for run in range(runs + 1):
        volumes = [volume(n) for n in sorted(there | (appearing if run else frozenset()))]
        chosen = within(volumes, most, known)
        assert len(chosen) == min(most, len(volumes))
        assert set(before) <= set(chosen) <= {each.id for each in volumes}
        assert list(chosen) == sorted(chosen)
        known.update(chosen)
        before = chosen


def test_ids_that_are_not_there_are_told() -> None:
    asked = Selector(Pattern(volume_ids=frozenset({DB1.id, volume_id(9), LEAVING.id})))
    found = select(asked, ALL)
    assert (found.volumes, found.absent) == ((DB1,), (volume_id(9),))


def test_our_temporaries_are_no_volumes_to_protect() -> None:
    assert protectable(ALL) == {DB1.id, DB2.id, WEB.id, RESTORED.id}


def test_names() -> None:
    assert child_name("nightly", DB1.id, START) == "nightly-00000001-0000-20261122120000"
    long = child_name("a" * 63, DB1.id, START)
    assert len(long) <= 63
    assert long != child_name("a" * 62 + "b", DB1.id, START)
    assert child_name("a.b", DB1.id, START) != child_name("a-b", DB1.id, START)


policies = st.from_regex(re.compile(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?"), fullmatch=True)


@given(policies, st.integers(0, 2**32 - 1))
def test_every_name_is_a_label_that_is_known_again(policy: str, number: int) -> None:
    name = child_name(policy, volume_id(number), START)
    assert re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)
    labels = labels_of(policy, volume_id(number), START, trigger_digest("now"))
    assert is_child(name, labels)
    assert all(len(value) <= 63 for value in labels.values())
    assert not is_child(name + "x", labels)


def test_a_label_alone_makes_no_child() -> None:
    labels = labels_of("nightly", DB1.id, START)
    name = child_name("nightly", DB1.id, START)
    assert not is_child("mine", labels)
    assert not is_child(name, {})
    for label in (POLICY_LABEL, VOLUME_LABEL, RUN_LABEL):
        assert not is_child(name, {key: v for key, v in labels.items() if key != label})
        assert not is_child(name, {**labels, label: "99999999999999"})


@pytest.mark.parametrize(
    ("key", "foreign"),
    [
        ("argocd.argoproj.io/instance", True),
        ("app.kubernetes.io/instance", True),
        ("kustomize.toolkit.fluxcd.io/name", True),
        ("helm.toolkit.fluxcd.io/namespace", True),
        ("cinderbank.io/policy", True),
        ("app.kubernetes.io/name", False),
        ("team", False),
    ],
)
def test_labels_of_gitops_tools_are_not_given_on(key: str, foreign: bool) -> None:
    assert is_foreign_label(key) is foreign
