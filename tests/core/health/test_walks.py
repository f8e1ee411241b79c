"""Any course of events: nothing raises, order and restarts do not matter, quick and slow answers are the same."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from consulguard import health
from consulguard.health.memory import CheckMemory, HealthState, Index
from consulguard.health.tables import SAW, TABLES, aggregated
from consulguard.model import (
    EdgesFact,
    InstanceFact,
    NodeFact,
    Observation,
    ServiceFact,
    State,
    Status,
    Target,
    Trouble,
)
from consulguard.policy import HealthPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from .mesh import Mesh, after, inst, node, service

POLICY = HealthPolicy(recovery_s=30, flap_window_s=60, calm_s=40, vanished_s=90)
NODES = ("n1", "n2")
INSTANCES = [inst(i, n, of=i.rstrip("12")) for n in NODES for i in ("web1", "web2", "db", "web1-proxy")]
CHECKS = [(t, f"{t.instance}:{n}") for t in INSTANCES for n in range(2)] + [(node(n), "serf") for n in NODES]
STEP = st.sampled_from([0, 0, 1, 5, 10, 29, 30, 31, 59, 60, 61, 100])


@st.composite
def looks(draw: st.DrawFn, at: float) -> Observation:
    target, check = draw(st.sampled_from(CHECKS))
    return Observation(
        target=target,
        check=check,
        status=draw(st.sampled_from(Status)),
        output=draw(st.sampled_from(["", "refused", "timeout"])),
        index=draw(st.integers(0, 5)),
        at=after(at),
        interval_s=draw(st.sampled_from([None, 10.0, 25.0])),
        changed=draw(st.booleans()),
    )


@st.composite
def facts(draw: st.DrawFn, at: float) -> Any:
    kind = draw(st.sampled_from(["service", "node", "edges"]))
    if kind == "edges":
        return EdgesFact(source="declared", edges=(), at=after(at))
    gone = draw(st.integers(0, 5)) == 0
    if kind == "node":
        name = draw(st.sampled_from(NODES))
        chosen = draw(st.none() | st.sets(st.sampled_from([i for i in INSTANCES if i.node == name])))
        listed = None if chosen is None else tuple(sorted(chosen))
        return NodeFact(target=node(name), instances=listed, gone=gone, at=after(at))
    name = draw(st.sampled_from(sorted({i.service for i in INSTANCES})))
    serves = draw(st.sampled_from(["", "web1", "web2"])) if name == "web1-proxy" else ""
    chosen = draw(st.none() | st.sets(st.sampled_from([i for i in INSTANCES if i.service == name])))
    found = None
    if chosen is not None:
        statuses = st.sampled_from(Status)
        found = tuple(
            InstanceFact(target=i, destination_instance=serves, status=draw(statuses)) for i in sorted(chosen)
        )
    count = draw(st.integers(0, 4))
    to = "web" if serves else ""
    return ServiceFact(target=service(name), count=count, destination=to, instances=found, gone=gone, at=after(at))


@st.composite
def courses(draw: st.DrawFn, with_facts: bool = True) -> list[tuple[str, float, Any]]:
    at, course = 0.0, []
    for _ in range(draw(st.integers(1, 12))):
        at += draw(STEP)
        kind = draw(st.sampled_from(["observe", "observe", "learn" if with_facts else "observe", "tick"]))
        batch: Any = None
        if kind == "observe":
            batch = draw(st.lists(looks(at), max_size=6))
        elif kind == "learn":
            batch = draw(st.lists(facts(at), max_size=3))
        course.append((kind, at, batch))
    return course


def play(mesh: Mesh, step: tuple[str, float, Any]) -> list[Any]:
    kind, at, batch = step
    match kind:
        case "observe":
            return mesh.observe(*batch, at=at)
        case "learn":
            return mesh.learn(*batch, at=at)
        case _:
            return mesh.tick(at)


def what_the_parts_say(state: HealthState) -> dict[str, tuple[State, int, frozenset[str], int]]:
    """Every trouble from scratch: state, looks, failing checks and index, by looking at everything each time."""
    found: dict[str, Any] = {}

    def sum_up(key: str, parts: list[Any], level: str) -> None:
        parts = [p for p in parts if p.state is not State.PASSING]
        tally = Counter(p.state for p in parts)
        now = TABLES[level].step(State.PASSING, aggregated(level, tally, len(parts)))
        if now is not State.PASSING:
            failing = [p for p in parts if p.state is not State.RECOVERING] or parts
            ids = [getattr(p, "check", None) or p.checks for p in failing]
            checks = frozenset(c for i in ids for c in ([i] if isinstance(i, str) else i))
            index = max(p.index for p in parts)
            found[key] = (now, max(p.looks for p in parts if p.state is now), checks, index)

    def mine(target: Target) -> list[CheckMemory]:
        whose = lambda t: state.folds.get(t.key, t) if t.instance else t  # noqa: E731
        return [m for m in state.checks.values() if whose(m.target) == target]

    nodes = {node(n) for n in NODES}
    for target in nodes:
        sum_up(target.key, list(mine(target)), "node")
    served = set(state.folds.values())
    for target in [*INSTANCES, *(served - set(INSTANCES))]:
        here = state.members.get(target.of_node().key, {})
        parts: list[Any] = mine(target)
        left = any(m.check == "registration" and m.state is State.VANISHED for m in parts)
        of_node = state.troubles.get(target.of_node().key)
        if (
            of_node
            and not left
            and target.key not in state.folds
            and (parts or target.key in here or target.key in state.troubles)
        ):
            parts = [*parts, of_node]
        sum_up(target.key, parts, "instance")
    return found


def as_told(troubles: Any) -> dict[str, tuple[State, int, frozenset[str], int]]:
    return {key: (t.state, t.looks, frozenset(t.checks), t.index) for key, t in troubles.items()}


def services_by_hand(state: HealthState) -> dict[str, State]:
    found = {}
    for name in {i.service for i in INSTANCES} | {t.target.service for t in state.troubles.values()} - {""}:
        key = service(name).key
        tally = Counter(t.state for t in state.troubles.values() if t.target.service == name)
        known = state.known[key].count if key in state.known else 0
        total = max(known + tally[State.VANISHED], tally.total())
        now = TABLES["service"].step(State.PASSING, aggregated("service", tally, total))
        if now is not State.PASSING:
            found[key] = now
    return found


def described(index: Index) -> Any:
    return (
        {key: sorted(thing.checks) for key, thing in index.things.items()},
        {key: sorted(things) for key, things in index.hosted.items()},
        {key: thing.key for key, thing in index.home.items()},
        index.tally,
        index.left,
    )


@settings(max_examples=300, deadline=None)
@given(courses())
def test_what_is_kept_up_to_date_is_what_a_slow_look_at_everything_finds(course: list[Any]) -> None:
    mesh = Mesh(POLICY)
    for step in course:
        before = {key: t.state for key, t in mesh.state.troubles.items()}
        changes = play(mesh, step)
        state = mesh.state
        assert as_told(health.troubles(state)) == what_the_parts_say(state)
        assert {key: t.state for key, t in state.services.items()} == services_by_hand(state)
        assert described(state.__dict__["index"]) == described(Index(state))
        for change in changes:  # what was told leads from the troubles before to those after
            if change.level in ("instance", "node"):
                assert before.get(change.target.key, State.PASSING) is change.was
                before[change.target.key] = change.now
        now = {key: t.state for key, t in state.troubles.items()}
        assert {k: s for k, s in before.items() if s is not State.PASSING} == now
        for t in state.troubles.values():
            assert t.not_passing_since <= t.since <= after(step[1])
            assert t.looks >= 1
            assert t.state is not State.PASSING
        wake = mesh.wake
        assert wake is None or wake > step[1]


class Slow:
    """Checks by hand: the same machine, told in the plainest way, without windows kept in a heap."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def wait(self, seconds: float, floor: float, factor: float = 1.0) -> timedelta:
        return timedelta(seconds=max(floor, POLICY.interval_factor * seconds * factor))

    def pass_time(self, at: Any) -> None:
        for key, m in list(self.known.items()):
            while key in self.known:
                match m["state"]:
                    case State.RECOVERING if at >= m["since"] + self.wait(m["rhythm"], POLICY.recovery_s):
                        self.go(m, "held", at)
                    case State.FLAPPING if at >= m["changes"][-1] + self.wait(m["rhythm"], POLICY.calm_s):
                        m["changes"] = []
                        self.go(m, "calmed", at)
                        self.go(m, SAW[m["seen"]], at)
                    case State.VANISHED if at >= m["since"] + timedelta(seconds=POLICY.vanished_s):
                        self.go(m, "forgotten", at)
                    case State.PASSING if not self.recent(m, at):
                        del self.known[key]
                    case _:
                        break

    def recent(self, m: dict[str, Any], at: Any) -> list[Any]:
        window = self.wait(m["rhythm"], POLICY.flap_window_s, POLICY.flap_changes)
        return [t for t in m["changes"] if at - t < window]

    def go(self, m: dict[str, Any], given_input: str, at: Any) -> None:
        was, m["state"] = m["state"], TABLES["check"].step(m["state"], given_input)
        if m["state"] is not was:
            m["since"] = at

    def see(self, look: Observation, at: Any) -> None:
        if look.key not in self.known:
            if look.status in (Status.PASSING, Status.ABSENT):
                return
            fresh = {"state": State.PASSING, "seen": Status.PASSING, "since": at, "changes": [], "rhythm": 0.0}
            self.known[look.key] = {**fresh, "index": 0, "output": ""}
        m = self.known[look.key]
        m["rhythm"] = look.interval_s or m["rhythm"]
        if look.status is not Status.UNKNOWN:
            hidden = not look.changed and 0 < m["index"] < look.index and look.output == m["output"]
            new = look.status is not m["seen"] and Status.MAINTENANCE not in (look.status, m["seen"])
            if new or (hidden and look.status is m["seen"]):
                m["changes"].append(at)
            m["seen"] = look.status
        m["index"] = look.index or m["index"]
        m["output"] = look.output or m["output"]
        was, since = m["state"], m["since"]
        self.go(m, SAW[look.status], at)
        if len(self.recent(m, at)) >= POLICY.flap_changes:
            self.go(m, "flapped", at)
        if m["state"] is was:
            m["since"] = since


@settings(max_examples=200, deadline=None)
@given(courses(with_facts=False))
def test_every_check_goes_the_way_the_plainest_machine_goes(course: list[Any]) -> None:
    mesh, slow = Mesh(POLICY), Slow()
    for step in course:
        kind, at, batch = step
        if kind == "observe":
            batch = list({o.key: o for o in batch}.values())  # one look per check: their order is another test
        play(mesh, (kind, at, batch))
        slow.pass_time(after(at))
        for look in batch or ():
            slow.see(look, after(at))
        slow.pass_time(after(at))
        told = {key: (m.state, m.since) for key, m in mesh.state.checks.items()}
        assert told == {key: (m["state"], m["since"]) for key, m in slow.known.items()}


@settings(max_examples=150, deadline=None)
@given(courses(), st.data())
def test_a_restart_in_between_changes_nothing_that_follows(course: list[Any], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(course)))
    mesh = Mesh(POLICY)
    for step in course[:cut]:
        play(mesh, step)
    again = mesh.restarted()
    assert again.state == mesh.state
    assert again.wake == mesh.wake
    for step in course[cut:]:
        assert play(again, step) == play(mesh, step)
        assert again.state == mesh.state
        assert list(again.state.troubles) == list(mesh.state.troubles)


@settings(max_examples=150, deadline=None)
@given(courses(), st.randoms(use_true_random=False))
def test_the_order_within_an_answer_does_not_matter(course: list[Any], random: Any) -> None:
    one, two = Mesh(POLICY), Mesh(POLICY)
    for kind, at, batch in course:
        shuffled = batch
        if kind == "observe":
            shuffled = random.sample(batch, len(batch))
        assert play(one, (kind, at, batch)) == play(two, (kind, at, shuffled))
        assert one.state == two.state


def without_looks(state: HealthState) -> Any:
    troubles = {key: (t.state, t.since, t.not_passing_since, t.checks) for key, t in state.troubles.items()}
    return troubles, {key: (m.state, m.since, m.changes, m.due) for key, m in state.checks.items()}


@settings(max_examples=150, deadline=None)
@given(courses(), looks(5000.0))
def test_the_same_look_twice_adds_a_look_and_nothing_else(course: list[Any], last: Observation) -> None:
    mesh = Mesh(POLICY)
    for step in course:
        play(mesh, step)
    mesh.observe(last, at=5000)
    before = without_looks(mesh.state)
    assert mesh.observe(last, at=5000) == []
    assert without_looks(mesh.state) == before


@settings(max_examples=100, deadline=None)
@given(courses())
def test_everything_ends_well_when_all_is_seen_passing(course: list[Any]) -> None:
    mesh = Mesh(POLICY)
    for step in course:
        play(mesh, step)
    at = course[-1][1] + 1
    mesh.observe(*(Observation(target=t, check=c, status=Status.PASSING, at=after(at)) for t, c in CHECKS), at=at)
    for _ in range(100):
        if mesh.wake is None:
            break
        mesh.tick(mesh.wake)
    assert not mesh.state.troubles
    assert not mesh.state.services
    assert not mesh.state.checks


def test_troubles_are_a_view_that_cannot_be_changed() -> None:
    mesh = Mesh()
    view = health.troubles(mesh.state)
    mesh.see(INSTANCES[0], "http", "critical")
    assert [type(t) for t in view.values()] == [Trouble]
    assert not hasattr(view, "pop")


def test_what_a_next_life_must_ask_about_is_what_is_not_passing() -> None:
    mesh = Mesh()
    mesh.see(INSTANCES[0], "a", "critical", at=0)
    mesh.see(INSTANCES[1], "b", "warning", at=0)
    mesh.see(INSTANCES[2], "c", "passing", at=0)
    assert health.known(mesh.state) == ((INSTANCES[0], "a"), (INSTANCES[1], "b"))
