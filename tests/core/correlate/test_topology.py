"""The graph as people and programs see it."""

from __future__ import annotations

import msgspec
from consulguard.correlate import Book, learn, to_dot, to_mermaid, topology
from consulguard.model import ServiceFact, State, Upstream

from tests.core.correlate.world import T0, bad, edges, inst, service, sidecar, svc, troubles


def book(*facts) -> Book:
    made = Book()
    learn(made, facts, T0)
    return made


def test_services_states_and_edges_with_sidecars_folded():
    mesh = book(
        service("web", count=2), sidecar("web", "api", count=2), service("api", count=4, seconds=9), sidecar("api")
    )
    found = troubles(bad(inst("api")), bad(inst("api-sidecar-proxy", "n-api-2")))
    assert msgspec.json.decode(msgspec.json.encode(topology(mesh, found))) == {
        "as_of": "2026-01-01T12:00:09Z",
        "services": [
            {"name": "api", "kind": "", "state": "critical", "instances": {"critical": 2, "passing": 2}},
            {"name": "web", "kind": "", "state": "passing", "instances": {"passing": 2}},
        ],
        "edges": [{"from": "web", "to": "api", "provenance": "proxy-upstream", "trust": 0.9}],
    }


def test_the_most_trusted_of_several_sources_is_shown():
    mesh = book(service("a", "b"), service("b"), edges("intentions", ("a", "b"), trust=0.5))
    (edge,) = topology(mesh, {}).edges
    assert (edge.provenance, edge.trust) == ("declared", 0.9)


def test_a_caller_whose_only_call_is_replaced_is_still_known():
    mesh = book(service("c"), edges("said", ("a", "b")), edges("said", ("a", "c")))
    assert {s.name for s in topology(mesh, {}).services} == {"a", "c"}


def test_what_is_not_registered_is_absent():
    shown = topology(book(service("a", "ghost")), {})
    assert {s.name: s.state for s in shown.services} == {"a": "passing", "ghost": "absent"}


def test_one_service_with_all_it_depends_on_and_all_that_depends_on_it():
    mesh = book(service("a", "b"), service("b", "c"), service("c", "d"), service("d", "c"), service("x", "d"))
    shown = topology(mesh, {}, "b")
    assert {s.name for s in shown.services} == {"a", "b", "c", "d"}
    assert {(e.source, e.destination) for e in shown.edges} == {("a", "b"), ("b", "c"), ("c", "d"), ("d", "c")}
    assert topology(mesh, {}, "nobody").services == ()


def test_names_of_other_places_are_told_apart():
    fact = ServiceFact(
        target=svc("a"), upstreams=(Upstream(name="a", dc="dc2"), Upstream(name="b", namespace="x")), at=T0
    )
    names = {s.name for s in topology(book(fact), {}).services}
    assert names == {"a", "a@dc2", "b.x"}


def test_a_partial_failure_is_a_warning_and_all_planned_is_maintenance():
    mesh = book(service("a", count=3), service("b"))
    found = troubles(bad(inst("a")), bad(inst("b"), 0, State.MAINTENANCE))
    assert {s.name: s.state for s in topology(mesh, found).services} == {"a": "warning", "b": "maintenance"}


def test_an_empty_graph_draws():
    shown = topology(Book(), {})
    assert shown.as_of is None
    assert to_dot(shown).startswith("digraph")
    assert to_mermaid(shown) == "flowchart LR\n"


def test_odd_names_cannot_break_the_drawings():
    odd = 'a"]; x\\\n-->|"&<script>'
    shown = topology(book(service(odd, "b"), service("b")), {})
    dot, mermaid = to_dot(shown), to_mermaid(shown)
    assert '"a\\"]; x\\\\\\n-->|\\"&<script>"' in dot
    assert len(dot.splitlines()) == 7
    assert "<script>" not in mermaid
    assert len(mermaid.splitlines()) == 4
