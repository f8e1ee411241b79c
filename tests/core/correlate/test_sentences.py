"""What is told of a cause agrees with what fails: every number in a sentence is counted again, from scratch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from consulguard.correlate import Trail, blame
from consulguard.correlate.accuse import Past
from consulguard.model import Explanation, Fact, Trouble
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.correlate.world import POLICY, at, bad, graph, inst, node, place, service, troubles

NAMES = "abcdef"
NODES = [f"n{i}" for i in range(5)]
NOW = 100
CLOCK = r"(\d\d:\d\d:\d\d)Z"


class Mesh:
    """What fails in it, told by plain counting."""

    def __init__(self, calls: dict[str, list[str]], units: dict[str, list[str]]) -> None:
        self.calls, self.units = calls, units  # service -> callees, service -> the node of each unit
        self.began: dict[tuple[str, str], int] = {}  # (service, node), or ("", node): seconds
        self.blamed: set[str] = set()  # nodes

    def fail(self, service: str, where: str, seconds: int) -> None:
        self.began[service, where] = seconds

    @property
    def facts(self) -> list[Fact]:
        found: list[Fact] = [
            place(n, "east" if i % 2 else "west", *(inst(s, n) for s, there in self.units.items() if n in there))
            for i, n in enumerate(NODES)
        ]
        return found + [
            service(s, *self.calls[s], count=len(nodes), nodes=nodes) for s, nodes in self.units.items()
        ]

    @property
    def troubles(self) -> list[Trouble]:
        return [bad(inst(s, n) if s else node(n), seconds) for (s, n), seconds in self.began.items()]

    def since(self, service: str) -> list[int]:
        """When each of its failing units began to fail; one that says nothing on a dead node: with the node."""
        dead = [(n, self.began.get((service, n), self.began.get(("", n)))) for n in self.units[service]]
        return sorted(seconds for _, seconds in dead if seconds is not None)

    def onset(self, service: str) -> int:
        share = math.ceil(POLICY.service_share * len(self.units[service]))
        told = self.since(service)
        return told[min(max(share, 1), len(told)) - 1]

    def fails(self, service: str) -> bool:
        """As a whole, by itself or with the places that are blamed."""
        size, failing = len(self.units[service]), self.failing(service)
        lost = any(n in self.blamed for n in failing) and len(failing) >= POLICY.service_share * size
        return lost or self.fails_itself(service)

    def fails_itself(self, service: str) -> bool:
        """Though the places that are blamed are left out."""
        size, failing = len(self.units[service]), self.failing(service)
        away = [n for n in failing if n not in self.blamed]
        return bool(away) and len(away) >= POLICY.service_share * (size - len(failing) + len(away))

    def failing(self, service: str) -> list[str]:
        """The nodes of its failing units."""
        return [n for n in self.units[service] if (service, n) in self.began or ("", n) in self.began]

    def unseen(self, service: str) -> int:
        """When the first of its callers failed, of those that no place explains."""
        return min(self.onset(c) for c in self.callers(service) if self.fails_itself(c))

    def callers(self, service: str) -> list[str]:
        return [s for s, callees in self.calls.items() if service in callees]


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    names = NAMES[: draw(st.integers(2, len(NAMES)))]
    calls = {n: draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) for n in names}
    units = {n: draw(st.lists(st.sampled_from(NODES), min_size=1, max_size=3, unique=True)) for n in names}
    made = Mesh({n: [c for c in callees if c != n] for n, callees in calls.items()}, units)
    for name in draw(st.lists(st.sampled_from(names), min_size=1, unique=True)):
        for where in draw(st.lists(st.sampled_from(units[name]), min_size=1, unique=True)):
            made.fail(name, where, draw(st.integers(0, 60)))
    for where in draw(st.lists(st.sampled_from(NODES), max_size=1)):
        made.fail("", where, draw(st.integers(0, 60)))
    return made


def judged(mesh: Mesh) -> tuple[Explanation, ...]:
    found = mesh.troubles
    trails = {
        t.target.key: Trail(
            target=t.target,
            check="c" if t.target.service else "serfHealth",
            flips=[(t.since.timestamp(), 2)],
        )
        for t in found
    }
    told = blame(graph(*mesh.facts), troubles(*found), at(NOW), POLICY, Past(trails))
    for e in told:
        if e.root.kind in ("node", "zone"):
            mesh.blamed |= {m.target.node for m in e.members if m.kind == "node"}
    return told


def clock(seconds: float) -> str:
    moment: datetime = at(0) + timedelta(seconds=seconds)
    return f"{moment:%H:%M:%S}"


# ---- one checker for each kind of sentence: (mesh, explanation, groups) -> nothing, or it fails

Checker = Callable[[Mesh, Explanation, tuple[str, ...]], None]


def units_of_a_service(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    failing, size, name, moment = told
    assert (int(failing), int(size)) == (len(mesh.since(name)), len(mesh.units[name]))
    assert moment == clock(mesh.onset(name))


def callers_that_fail(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    callers = mesh.callers(e.root.name)
    assert [int(n) for n in told] == [sum(map(mesh.fails, callers)), len(callers)]


def no_dependency_fails(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    assert sorted(told[0].split(", ")) == sorted(mesh.calls[e.root.name])
    assert not any(map(mesh.fails, mesh.calls[e.root.name]))


def no_dependency_known(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    assert not mesh.calls[e.root.name]


def no_caller_known(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    assert not mesh.callers(e.root.name)


def one_instance(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    name, where, moment = told
    assert moment == clock(mesh.began[name, where])


def instances_that_stand(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    standing, size, name = told
    assert int(size) == len(mesh.units[name])
    assert int(standing) == int(size) - len(mesh.since(name))


def callers_of_a_hidden_one(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    share, known, name, names, moment = told
    down = [c for c in mesh.callers(name) if mesh.fails(c)]
    assert int(known) == len(mesh.callers(name))
    assert int(share or known) == len(names.split(", ")) == len(down)
    assert moment == clock(mesh.unseen(name))


def checks_of_a_hidden_one(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    assert not mesh.since(told[0])


def few_checks_of_a_hidden_one(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    assert [int(n) for n in told[:2]] == [len(mesh.since(told[2])), len(mesh.units[told[2]])]


def a_node_check(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    assert ("", told[0]) in mesh.began


def units_of_a_node(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    here = [s for s, nodes in mesh.units.items() if told[2] in nodes]
    assert [int(told[0]), int(told[1])] == [sum((s, told[2]) in mesh.began for s in here), len(here)]


def a_victim(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    victim, callee, number, way = told
    assert callee in mesh.calls[victim]
    assert mesh.fails(victim)
    if e.root.kind == "service":
        late = mesh.onset(victim) - (
            mesh.onset(e.root.name) if mesh.fails(e.root.name) else mesh.unseen(e.root.name)
        )
        assert (float(number or 0), way) == (abs(late), ("later" if late > 0 else "earlier") if late else None)


def considered_service(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    name, chance, failing, size, callers, known = told
    (other,) = [a for a in e.alternatives if a.root.kind == "service" and a.root.name == name]
    assert chance == f"{other.confidence:.0%}"
    assert (int(failing or 0), int(size or len(mesh.units[name]))) == (
        len(mesh.since(name)),
        len(mesh.units[name]),
    )
    if known:
        there = mesh.callers(name)
        assert [int(callers), int(known)] == [sum(bool(mesh.since(c)) for c in there), len(there)]
    else:
        assert not mesh.callers(name)


def considered_node(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    name, _, own, failing, units = told
    here = [s for s, nodes in mesh.units.items() if name in nodes]
    assert (own == "fails") == (("", name) in mesh.began)
    dead = ("", name) in mesh.began
    assert [int(failing), int(units)] == [sum(dead or (s, name) in mesh.began for s in here), len(here)]


def not_known(mesh: Mesh, e: Explanation, told: tuple[str, ...]) -> None:
    assert told == (e.root.name, f"{e.confidence:.0%}")


CHECKS: dict[str, Checker] = {
    rf"(\d+) of (\d+) instances of (\w+) fail, since {CLOCK}\.": units_of_a_service,
    r"(\d+) of its (\d+) known callers fail\.": callers_that_fail,
    r"No known dependency of it fails \(([\w, ]+)\)\.": no_dependency_fails,
    r"It has no known dependency\.": no_dependency_known,
    r"It has no known caller\.": no_caller_known,
    rf"Instance \S+ of (\w+) on (\w+) fails, since {CLOCK}\.": one_instance,
    r"(\d+) of (\d+) instances of (\w+) stand\.": instances_that_stand,
    rf"(?:All|(\d+) of) (\d+) known callers of (\w+) fail \(([\w, ]+)\), since {CLOCK}\.": callers_of_a_hidden_one,
    r"(\w+)'s own checks pass: they may not see what its callers see\.": checks_of_a_hidden_one,
    r"Only (\d+) of (\d+) instances of (\w+) fail by their own checks: .*": few_checks_of_a_hidden_one,
    rf"The node check of (\w+) fails, since {CLOCK}\.": a_node_check,
    rf"(\d+) of (\d+) instances on (\w+) fail, since {CLOCK}\.": units_of_a_node,
    r"(\w+) fails and depends on (\w+) \(.*\); it began (?:at the same time|(\S+) s (later|earlier))\.": a_victim,
    r"Also considered: (\w+) \((\d+%)\): (?:its own checks pass|(\d+) of its (\d+) instances fail), "
    r"(?:it has no known caller|(\d+) of its (\d+) known callers fail)\.": considered_service,
    r"Also considered: node (\w+) \((\d+%)\): its own check (fails|passes), "
    r"(\d+) of (\d+) instances there fail\.": considered_node,
    r"We do not know who is to blame: (\w+) has a chance of (\d+%)\.": not_known,
}


def checked(mesh: Mesh) -> Iterator[str]:
    """The kinds of sentences that were told and counted again."""
    for e in judged(mesh):
        for sentence in e.why:
            for pattern, check in CHECKS.items():
                if (match := re.fullmatch(pattern, sentence)) is not None:
                    check(mesh, e, match.groups())
                    yield pattern


@settings(max_examples=150)
@given(meshes())
def test_every_number_in_a_sentence_is_right(mesh: Mesh) -> None:
    list(checked(mesh))


def test_a_hidden_root_some_of_whose_instances_fail_is_not_said_to_pass() -> None:
    mesh = Mesh({"b": ["d"], "c": ["d"], "d": []}, {"b": ["n0"], "c": ["n1"], "d": ["n2", "n3", "n4"]})
    for name, where, seconds in (("b", "n0", 1), ("c", "n1", 0), ("d", "n2", 1)):
        mesh.fail(name, where, seconds)
    told = list(checked(mesh))
    assert sum(pattern.startswith("Only") for pattern in told) == 1
