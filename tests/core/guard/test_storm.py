"""The storm brake: when it trips, when it stays, when it is over."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from consulguard.guard import storm
from consulguard.guard.situation import Storm
from consulguard.guard.storm import Fleet
from consulguard.model import State, Target, Trouble
from consulguard.policy import GuardPolicy
from hypothesis import given
from hypothesis import strategies as st

from tests.core.guard.scenes import NOW, ago

POLICY = GuardPolicy()
NOBODY: frozenset[str] = frozenset()


def bad(
    n: int, *, node: str = "", zone: str = "", since: datetime = NOW, state: State = State.CRITICAL
) -> Trouble:
    target = Target(dc="dc1", service=f"s{n}", node=node or f"n{n}", instance=f"i{n}")
    return Trouble(target=target, state=state, since=since, not_passing_since=since, zone=zone)


def by_key(troubles: list[Trouble]) -> dict[str, Trouble]:
    return {t.target.key: t for t in troubles}


def look(
    troubles: list[Trouble],
    fleet: int = 100,
    explained: frozenset[str] = NOBODY,
    before: Storm | None = None,
    at: datetime = NOW,
    policy: GuardPolicy = POLICY,
) -> Storm:
    return storm.update(
        before or Storm(),
        troubles=by_key(troubles),
        explained=explained,
        fleet=Fleet(fleet),
        at=at,
        policy=policy,
    )


@pytest.mark.parametrize(
    ("fleet", "fails", "on"),
    [
        (10, 4, False),
        (10, 5, True),
        (25, 5, True),
        (26, 5, False),
        (26, 6, True),
        (100, 19, False),
        (100, 20, True),
    ],
)
def test_a_fifth_of_the_fleet_and_at_least_five(fleet: int, fails: int, on: bool) -> None:
    found = look([bad(n) for n in range(fails)], fleet)
    assert found.on is on
    assert (str(fails) in found.reason) is on


def test_a_cascade_that_a_service_explains_does_not_stop_its_own_cure() -> None:
    troubles = [bad(n) for n in range(30)]
    victims = frozenset(t.target.key for t in troubles[1:])
    assert look(troubles).on
    assert not look(troubles, explained=victims).on


def test_half_the_fleet_trips_it_explained_or_not_and_however_old() -> None:
    troubles = [bad(n, since=ago(9999)) for n in range(50)]
    everybody = frozenset(by_key(troubles))
    assert look(troubles, explained=everybody).on
    assert not look(troubles[:49], explained=everybody).on


def test_what_failed_long_ago_is_no_sudden_change() -> None:
    assert look([bad(n, since=ago(120)) for n in range(20)]).on
    assert not look([bad(n, since=ago(121)) for n in range(20)]).on


@pytest.mark.parametrize("where", ["node", "zone"])
def test_one_place_explains_more_than_half(where: str) -> None:
    def fails(there: int, elsewhere: int) -> list[Trouble]:
        return [bad(n, **{where: "here"}) for n in range(there)] + [bad(n + 50) for n in range(elsewhere)]

    assert look(fails(3, 2)).on
    assert "here has 3 of the 5" in look(fails(3, 2)).reason
    assert not look(fails(3, 3)).on
    assert not look(fails(4, 0)).on


def test_a_zone_nobody_knows_is_no_place() -> None:
    assert not look([bad(n, zone="") for n in range(10)]).on


def test_a_failed_node_counts_as_one_until_its_instances_are_known() -> None:
    nodes = [
        Trouble(target=Target(dc="dc1", node=f"n{n}"), state=State.CRITICAL, since=NOW, not_passing_since=NOW)
        for n in range(5)
    ]
    assert look(nodes, fleet=10).on
    assert not look([*nodes[:4], bad(0), bad(1)], fleet=30).on


@pytest.mark.parametrize("state", list(State))
def test_which_states_count(state: State) -> None:
    on = look([bad(n, state=state) for n in range(20)]).on
    assert on is (state in (State.CRITICAL, State.VANISHED, State.FLAPPING))


def test_a_fleet_of_unknown_size_is_judged_by_the_number_alone() -> None:
    assert not look([bad(n) for n in range(4)], fleet=0).on
    assert look([bad(n) for n in range(5)], fleet=0).on


def test_off_only_after_the_cooldown_and_a_new_trip_starts_it_anew() -> None:
    crowd = [bad(n) for n in range(20)]
    on = look(crowd)
    assert (on.on, on.since, on.clear_since) == (True, NOW, None)
    clear_at = NOW + timedelta(seconds=10)
    clear = look([], before=on, at=clear_at)
    assert (clear.on, clear.clear_since) == (True, clear_at)
    assert storm.next_wake(clear, POLICY) == clear_at + timedelta(seconds=300)
    assert look([], before=clear, at=clear_at + timedelta(seconds=299)).on
    again = look(crowd, before=clear, at=clear_at + timedelta(seconds=100))
    assert (again.on, again.clear_since, again.since) == (True, None, NOW)
    calm_at = clear_at + timedelta(seconds=200)
    calm = look([], before=again, at=calm_at)
    assert look([], before=calm, at=clear_at + timedelta(seconds=301)).on
    over = look([], before=calm, at=calm_at + timedelta(seconds=300))
    assert over == Storm()
    assert storm.next_wake(over, POLICY) is None


def test_while_it_trips_it_is_looked_at_now_and_then_only() -> None:
    on = look([bad(n) for n in range(20)])
    wake = storm.next_wake(on, POLICY)
    assert wake is not None
    assert look([], before=on, at=wake - timedelta(seconds=1)) is on
    assert look([], before=on, at=wake).clear_since == wake


def test_it_survives_the_journal() -> None:
    on = look([bad(n) for n in range(20)])
    assert msgspec.json.decode(msgspec.json.encode(on), type=Storm) == on


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(State), st.integers(0, 300)), max_size=40),
    st.integers(0, 60),
    st.sets(st.integers(0, 40)),
    st.integers(1, 10),
)
def test_more_trouble_never_keeps_it_off(
    found: list[tuple[int, State, int]], fleet: int, explained: set[int], more: int
) -> None:
    """By the counts: a crowd in one place may well be lost in a greater crowd."""
    counts_only = GuardPolicy(storm_group_share=1.0)
    troubles = [bad(n, state=state, since=ago(age)) for n, state, age in found]
    keys = frozenset(bad(n).target.key for n in explained)
    before = look(troubles, fleet, keys, policy=counts_only)
    after = look(troubles + [bad(n + 100) for n in range(more)], fleet, keys, policy=counts_only)
    assert after.on or not before.on


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=30))
def test_it_is_never_off_sooner_than_the_cooldown_after_a_trip(turns: list[tuple[int, bool]]) -> None:
    state, at, last_trip = Storm(), NOW, None
    for wait, failing in turns:
        at += timedelta(seconds=wait)
        state = look([bad(n, since=at) for n in range(20)] if failing else [], before=state, at=at)
        if failing:
            last_trip = at
            assert state.on
        if not state.on and last_trip is not None:
            assert at - last_trip >= timedelta(seconds=300)
