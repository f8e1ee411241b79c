"""What playbooks get to see of an incident."""

from __future__ import annotations

import msgspec
from consulguard.correlate import Book, healthy, learn, subjects, update
from consulguard.model import InstanceFact, Role, State, Subject, Trouble

from tests.core.correlate.world import (
    POLICY,
    T0,
    at,
    bad,
    down,
    inst,
    node,
    place,
    service,
    sidecar,
    svc,
    troubles,
)


def seen(book: Book, *found: Trouble) -> list[tuple[Subject, ...]]:
    told = update(book, troubles(*found), at(60), POLICY)
    return [subjects(book, incident, troubles(*found)) for incident in told]


def book(*facts) -> Book:
    made = Book()
    learn(made, facts, T0)
    return made


def test_the_root_comes_first_then_its_instances_then_the_others_by_since():
    mesh = book(service("c", count=2), service("b", "c"), service("a", "b"), service("x", "c"))
    ((*found,),) = seen(mesh, *down("c", 2, seconds=4), *down("b", seconds=20), *down("a", seconds=10))
    assert [(s.scope, s.role, s.target.name) for s in found] == [
        ("service", Role.ROOT_CAUSE, "c"),
        ("instance", Role.ROOT_CAUSE, "c-1"),
        ("instance", Role.ROOT_CAUSE, "c-2"),
        ("service", Role.AT_RISK, "x"),
        ("service", Role.AFFECTED, "a"),
        ("service", Role.AFFECTED, "b"),
    ]
    assert found[-1].depends_on_failing == ("c",)
    assert found[0].depends_on_failing == ()


def test_an_instance_carries_its_own_labels():
    target = inst("c")
    detail = InstanceFact(target=target, tags=("blue",), meta={"team": "pay"})
    fact = msgspec.structs.replace(service("c", count=4), kind="ingress-gateway", instances=(detail,))
    trouble = msgspec.structs.replace(bad(target), checks=("http",), output="503", looks=3)
    ((only,),) = seen(book(fact, place("n-c-1", "east")), trouble)
    assert only.scope == "instance"
    assert only.kind == "ingress-gateway"
    assert (only.zone, only.tags, only.meta) == ("east", ("blue",), {"team": "pay"})
    assert (only.checks, only.output, only.looks) == (("http",), "503", 3)
    assert (only.expected, only.healthy) == (4, 3)


def test_a_node_is_a_subject_of_its_own_scope():
    mesh = book(place("n1", "east"), service("c", count=3, nodes=("n1", "n2", "n3")))
    ((root, piece),) = seen(mesh, bad(node("n1")), bad(inst("c", "n1")))
    assert (root.scope, root.zone, root.target) == ("node", "east", node("n1"))
    assert (piece.role, piece.expected, piece.healthy) == (Role.ISOLATED, 3, 2)


def test_expected_is_what_there_was_in_the_last_day_or_what_is_declared():
    mesh = book(service("c", count=5, seconds=0), service("c", count=2, seconds=3600))
    graph, key, hour = mesh.graph, svc("c").key, 3600
    assert graph.expected(key, at(2 * hour)) == 5
    assert graph.expected(key, at(26 * hour)) == 2
    learn(mesh, [service("c", count=3, seconds=7200)], T0)
    assert graph.expected(key, at(24 * hour)) == 5
    learn(mesh, [service("c", count=3, meta={"consulguard.io/expected": "9"})], T0)
    assert graph.expected(key, at(2 * hour)) == 9
    learn(mesh, [service("c", count=3, meta={"consulguard.io/expected": "many"})], T0)
    assert graph.expected(key, at(0)) == 5


def test_healthy_counts_no_instance_twice():
    mesh = book(service("c", count=5), sidecar("c", count=5), place("n-c-4", "", inst("c", number=4)))
    found = troubles(
        bad(inst("c")),
        bad(inst("c-sidecar-proxy", "n-c-1")),  # the same unit
        bad(inst("c-sidecar-proxy", "n-c-2")),  # another one
        bad(inst("c", number=3), 0, State.MAINTENANCE),
        bad(node("n-c-4")),  # its instance's checks are frozen
    )
    update(mesh, found, at(60), POLICY)
    assert healthy(mesh, svc("c").key, found) == 1
    assert healthy(mesh, svc("unknown").key, found) == 0


def test_a_hidden_root_is_a_passing_subject():
    mesh = book(service("a", "s"), service("b", "s"), service("s"))
    ((root, *others),) = seen(mesh, *down("a"), *down("b"))
    assert (root.target.service, root.state, root.healthy) == ("s", State.PASSING, 1)
    assert {s.role for s in others} == {Role.AFFECTED}
