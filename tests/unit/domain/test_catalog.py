"""Which RecoveryPoints are made and removed; and their names."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from cinderbank.domain.catalog import PointKey, PointState, Present, plan, point_name
from cinderbank.domain.facts import BackupId, VolumeId

BANK = "main"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
IDS = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=25, max_size=25)
KEYS = st.builds(
    PointKey,
    st.sampled_from(["a", "b", "paris-1"]),
    IDS.map(lambda text: BackupId("0" + text)),
    st.sampled_from([VolumeId(f"{n}1111111-2222-4333-8444-555555555555") for n in (1, 2)]),
)


def point(key: PointKey, state: PointState = PointState.READABLE) -> Present:
    return Present(point_name(BANK, key), "uid", True, key, state, NOW)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[PointKey], list[Present], frozenset[PointKey]]:
    """What is wanted, what is there, and what is damaged; all of it overlapping."""
    keys = draw(st.lists(KEYS, unique=True, max_size=8))
    wanted = draw(st.lists(st.sampled_from(keys), unique=True)) if keys else []
    present = []
    for key in draw(st.lists(st.sampled_from(keys), unique=True)) if keys else []:
        other = draw(st.sampled_from([key, None, *keys]))
        present.append(
            replace(
                point(key, draw(st.sampled_from(list(PointState)))),
                ours=draw(st.booleans()),
                key=other,
                chosen=draw(st.booleans()),
            )
        )
    damaged = draw(st.sets(st.sampled_from(keys))) if keys else set()
    return wanted, present, frozenset(damaged)


@given(worlds())
def test_carried_out_it_leaves_what_is_wanted_and_touches_nothing_else(
    world: tuple[list[PointKey], list[Present], frozenset[PointKey]],
) -> None:
    wanted, present, damaged = world
    made = plan(BANK, wanted, present, damaged)
    assert all(each.ours for each in made.delete)
    assert all(each.ours for each, _ in made.look_again + made.unreadable)
    after = {each.name: each for each in present if each not in made.delete}
    for name, key in made.create:
        assert name not in after
        after[name] = point(key)
    for each, key in (*made.look_again, *made.unreadable):
        state = PointState.DEGRADED if key in damaged else PointState.READABLE
        after[each.name] = replace(each, state=state)
    after = {
        name: replace(each, state=PointState.DEGRADED)
        if each.ours and each.key in damaged and each.state is PointState.READABLE
        else each
        for name, each in after.items()
    }
    not_ours = {each.name for each in present if not each.ours}
    not_chosen = {each.name for each in present if each.ours and not each.chosen}
    expected = {point_name(BANK, key) for key in wanted} - not_ours
    mirrored = {name for name, each in after.items() if each.ours}
    assert mirrored <= expected
    assert expected - mirrored <= not_chosen
    again = plan(BANK, [k for k in wanted if point_name(BANK, k) in after], after.values(), damaged)
    assert (again.delete, again.create, again.look_again, again.unreadable) == ((), (), (), ())
    assert again.kept == len(mirrored)
    assert made.taken == len({point_name(BANK, key) for key in wanted} & not_ours)


@given(KEYS, KEYS, st.sampled_from(["main", "second", "x" * 63, "x" * 62 + "y", "a.b-c"]))
def test_a_name_is_one_of_kubernetes_and_of_one_backup_only(
    one: PointKey, other: PointKey, bank: str
) -> None:
    name = point_name(bank, one)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])", name)
    assert one.backup_id.lower() in name
    assert (point_name(bank, other) == name) == (one == other)
    assert point_name(bank + "z", one) != name


def test_the_name_stays_what_it_was() -> None:
    """A release that named them otherwise would make all of them anew."""
    key = PointKey(
        "site-a",
        BackupId("01KAPZ5J3VQ6Z0C4M8T2R7W9XE"),
        VolumeId("11111111-2222-4333-8444-555555555555"),
    )
    assert point_name("main", key) == "main-01kapz5j3vq6z0c4m8t2r7w9xe-iyun6wyt"
    long = "a-bank.with-a-name-that-is-long"
    assert point_name(long, key).startswith(
        "a-bank.with-a-name-that-is-01kapz5j3vq6z0c4m8t2r7w9xe-"
    )


def test_the_newest_come_first_and_what_was_looked_at_longest_ago() -> None:
    keys = [PointKey("a", BackupId(f"{n:026d}"), VolumeId("v")) for n in range(4)]
    made = plan(BANK, [keys[3], keys[2]], [], frozenset())
    assert [key for _, key in made.create] == [keys[3], keys[2]]
    old, never = point(keys[0], PointState.UNREADABLE), point(keys[1], PointState.UNREADABLE)
    made = plan(BANK, keys, [old, replace(never, looked_at=None)], frozenset())
    assert [key for _, key in made.unreadable] == [keys[1], keys[0]]
