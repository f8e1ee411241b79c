"""The machines are total, deterministic, reachable and free of traps; their rules decide as documented."""

from __future__ import annotations

import pytest
from consulguard.health import TABLES, to_mermaid
from consulguard.health.tables import RANK, SAW, Machine, aggregated
from consulguard.model import State, Status
from hypothesis import given
from hypothesis import strategies as st

LEVELS = ("check", "instance", "service", "node")
machines = pytest.mark.parametrize("machine", [TABLES[level] for level in LEVELS], ids=LEVELS)


def reach(machine: Machine, start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        for after in machine.delta[todo.pop()].values():
            if after not in found:
                found.add(after)
                todo.append(after)
    return found


def test_there_is_one_table_per_level() -> None:
    assert tuple(sorted(TABLES)) == tuple(sorted(LEVELS))


@machines
def test_delta_is_total_and_stays_within_the_states(machine: Machine) -> None:
    assert machine.states == tuple(State)
    assert set(machine.delta) == set(machine.states)
    for row in machine.delta.values():
        assert tuple(row) == machine.inputs  # every input, and none twice: a dict has one cell for each
        assert set(row.values()) <= set(machine.states)


@machines
def test_every_state_is_reachable_from_the_initial_one(machine: Machine) -> None:
    assert reach(machine, machine.initial) == set(machine.states)


@machines
def test_no_state_is_a_trap(machine: Machine) -> None:
    for state in machine.states:
        assert reach(machine, state) & machine.accepting, state


@machines
def test_the_tables_cannot_be_changed(machine: Machine) -> None:
    with pytest.raises(TypeError):
        machine.delta[State.PASSING][machine.inputs[0]] = State.CRITICAL  # type: ignore[index]


@machines
@given(data=st.data())
def test_a_walk_never_leaves_the_machine_and_is_repeatable(machine: Machine, data: st.DataObject) -> None:
    walk = data.draw(st.lists(st.sampled_from(machine.inputs), max_size=40))

    def walked() -> list[State]:
        path = [machine.initial]
        for given_input in walk:
            path.append(machine.step(path[-1], given_input))
        return path

    assert walked() == walked()
    assert set(walked()) <= set(machine.states)


CHECK = TABLES["check"]


def test_every_status_is_an_input_of_a_check() -> None:
    assert {SAW[status] for status in Status} < set(CHECK.inputs)


@pytest.mark.parametrize("state", list(State))
def test_silence_is_never_a_failure_and_never_a_recovery(state: State) -> None:
    after = CHECK.step(state, "saw_unknown")
    assert after is state or after is State.UNKNOWN
    assert after not in (State.PASSING, State.RECOVERING) or after is state is State.PASSING


@pytest.mark.parametrize("state", [s for s in State if s not in (State.PASSING, State.MAINTENANCE)])
def test_leaving_while_not_passing_is_never_a_recovery(state: State) -> None:
    assert CHECK.step(state, "saw_absent") is State.VANISHED


@pytest.mark.parametrize("state", [State.WARNING, State.CRITICAL, State.VANISHED, State.UNKNOWN])
def test_trouble_passes_through_the_hold_down(state: State) -> None:
    assert CHECK.step(state, "saw_passing") is State.RECOVERING
    ways_to_passing = {i for i in CHECK.inputs if CHECK.step(state, i) is State.PASSING}
    assert ways_to_passing <= {"forgotten"}


def test_only_held_ends_the_hold_down_well() -> None:
    ends = {i for i in CHECK.inputs if CHECK.step(State.RECOVERING, i) is State.PASSING}
    assert ends == {"held"}


def test_only_calm_ends_flapping_by_time() -> None:
    for given_input in ("saw_passing", "saw_warning", "saw_critical", "held", "forgotten", "flapped"):
        assert CHECK.step(State.FLAPPING, given_input) is State.FLAPPING
    assert CHECK.step(State.FLAPPING, "calmed") is State.RECOVERING


@pytest.mark.parametrize("level", ["instance", "node"])
def test_one_part_gives_the_whole_its_state(level: str) -> None:
    for state in State:
        given_input = aggregated(level, {state: 1}, 5)
        assert TABLES[level].step(State.PASSING, given_input) is state


@pytest.mark.parametrize("level", ["instance", "node"])
@given(tally=st.dictionaries(st.sampled_from(State), st.integers(1, 9), min_size=1))
def test_the_worst_part_decides(level: str, tally: dict[State, int]) -> None:
    worst = min(tally, key=lambda s: RANK[s])
    assert TABLES[level].step(State.PASSING, aggregated(level, tally, sum(tally.values()))) is worst


def test_maintenance_comes_before_everything_and_passing_last() -> None:
    assert min(State, key=lambda s: RANK[s]) is State.MAINTENANCE
    assert max(State, key=lambda s: RANK[s]) is State.PASSING


C, V, F, W, M, U, R = (
    State.CRITICAL,
    State.VANISHED,
    State.FLAPPING,
    State.WARNING,
    State.MAINTENANCE,
    State.UNKNOWN,
    State.RECOVERING,
)


@pytest.mark.parametrize(
    ("tally", "total", "now"),
    [
        ({}, 0, State.PASSING),
        ({}, 3, State.PASSING),
        ({C: 1}, 1, C),  # its only one
        ({C: 1}, 2, C),  # half is most
        ({C: 1}, 3, W),
        ({C: 1, V: 1}, 4, C),
        ({V: 3}, 3, V),
        ({V: 2}, 3, C),
        ({M: 3}, 3, M),
        ({M: 1}, 3, State.PASSING),  # planned, and the others serve
        ({M: 2, C: 1}, 4, C),  # of the two that are not under maintenance one fails
        ({F: 2}, 4, F),
        ({F: 1}, 4, W),
        ({F: 1, C: 1}, 4, F),
        ({W: 4}, 4, W),
        ({U: 4}, 4, U),
        ({U: 1, W: 1}, 4, W),
        ({U: 1, R: 1}, 4, U),
        ({R: 1}, 4, R),
    ],
)
def test_a_service_is_the_share_of_its_instances(tally: dict[State, int], total: int, now: State) -> None:
    assert TABLES["service"].step(State.PASSING, aggregated("service", tally, total)) is now


@pytest.mark.parametrize("level", LEVELS)
def test_the_picture_shows_every_move_once(level: str) -> None:
    machine = TABLES[level]
    lines = [line.strip() for line in to_mermaid(level).splitlines()]
    assert lines[0] == "stateDiagram-v2"
    assert "[*] --> passing" in lines
    moves = {(was, now) for was in machine.states for now in machine.delta[was].values() if was is not now}
    drawn = [line.split(":")[0] for line in lines if ": " in line and " --> " in line]
    assert sorted(drawn) == sorted(f"{was} --> {now}" for was, now in moves)


def test_there_is_no_picture_of_what_does_not_exist() -> None:
    with pytest.raises(ValueError, match="cluster"):
        to_mermaid("cluster")
