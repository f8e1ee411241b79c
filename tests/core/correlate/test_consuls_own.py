"""Consul's own servers are not part of the mesh: what fails there opens nothing by itself."""

import pytest
from consulguard.correlate import Graph, blame
from consulguard.model import NodeFact, State, Trouble

from tests.core.correlate.world import POLICY, T0, at, inst, node, service


def trouble(target, state=State.CRITICAL):
    return Trouble(target=target, state=state, since=at(0), not_passing_since=at(0))


def blamed(graph, *targets, state=State.CRITICAL):
    found = blame(graph, {t.key: trouble(t, state) for t in targets}, at(1), POLICY)
    return {(e.root.kind, e.root.name) for e in found}


def mesh(*services):
    graph = Graph()
    graph.learn([NodeFact(target=node(n), at=T0) for n in ("s1", "s2", "s3")])
    graph.learn([service("consul", count=3, nodes=("s1", "s2", "s3")), *services])
    return graph


@pytest.mark.parametrize("state", [State.CRITICAL, State.VANISHED])
def test_a_dead_server_is_no_incident(state):
    dead = (node("s1"), inst("consul", "s1"))
    assert blamed(mesh(), *dead, state=state) == set()
    gone = mesh()
    gone.learn([NodeFact(target=node("s1"), gone=True, at=at(1)), service("consul", count=2, nodes=("s2", "s3"))])
    assert blamed(gone, *dead, state=state) == set()


def test_a_server_that_runs_more_than_consul_is_a_node_like_any_other():
    graph = mesh(service("a", count=2, nodes=("s1", "s2")))
    assert blamed(graph, node("s1"), inst("consul", "s1"), inst("a", "s1")) == {("node", "s1")}


def test_a_node_on_which_nothing_is_known_to_run_counts():
    assert blamed(mesh(), node("n9")) == {("node", "n9")}


def test_a_failing_check_of_a_server_is_no_incident_either():
    assert blamed(mesh(), *(inst("consul", f"s{i}") for i in (1, 2, 3))) == set()


@pytest.mark.parametrize("read", ["the service", "the node"])
def test_the_empty_node_that_a_dead_server_leaves_for_a_moment_is_no_incident(read):
    graph = mesh()
    if read == "the node":
        graph.learn([NodeFact(target=node("s1"), instances=(inst("consul", "s1"),), at=at(0))])
        graph.learn([NodeFact(target=node("s1"), instances=(), at=at(1))])
    graph.learn([service("consul", count=2, nodes=("s2", "s3"))])
    assert blamed(graph, node("s1")) == set()


def test_after_a_day_a_node_is_no_longer_a_servers():
    graph = mesh()
    graph.learn([service("consul", count=2, nodes=("s2", "s3"), seconds=0)])
    graph.learn([service("consul", count=1, nodes=("s3",), seconds=86_401)])
    assert blamed(graph, node("s1")) == {("node", "s1")}
    assert blamed(graph, node("s2")) == set()
