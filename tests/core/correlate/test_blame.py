"""Who is blamed, rule by rule, on small meshes."""

from __future__ import annotations

import pytest
from consulguard.model import EdgesFact, Role, ServiceFact, State, Upstream
from consulguard.policy import CorrelatePolicy

from tests.core.correlate.world import (
    T0,
    bad,
    down,
    edges,
    graph,
    inst,
    judged,
    node,
    place,
    role,
    roots,
    service,
    sidecar,
    svc,
)

CHAIN = (service("a", "b"), service("b", "c"), service("c"))


def test_a_healthy_mesh_blames_nobody():
    assert judged(graph(*CHAIN)) == ()


def test_of_a_chain_the_last_that_fails_is_the_root_and_the_rest_is_affected():
    (told,) = judged(graph(*CHAIN), *down("a", seconds=9), *down("b", seconds=5), *down("c"))
    assert roots([told]) == ["service:c"]
    assert role(told, Role.AFFECTED) == {"a", "b"}
    assert role(told, Role.AT_RISK) == set()
    assert told.confidence >= 0.7


def test_callers_that_stand_are_at_risk_two_calls_deep():
    mesh = graph(service("x", "a"), *CHAIN)
    (told,) = judged(mesh, *down("c"))
    assert role(told, Role.AT_RISK) == {"a", "b"}
    assert {m.state for m in told.members if m.role is Role.AT_RISK} == {State.PASSING}


def test_a_cause_without_failing_callers_is_less_sure_than_one_with():
    alone = judged(graph(*CHAIN), *down("c"))[0]
    heard = judged(graph(*CHAIN), *down("c"), *down("b"))[0]
    assert alone.confidence < 0.7 <= heard.confidence


def test_two_faults_are_two_causes_and_a_victim_goes_to_the_nearer():
    mesh = graph(service("a", "b", "x"), service("x", "y"), service("y"), service("b"))
    told = judged(mesh, *down("a", seconds=9), *down("b", seconds=3), *down("x", seconds=5), *down("y"))
    assert roots(told) == ["service:y", "service:b"]
    assert role(told[0], Role.AFFECTED) == {"x"}
    assert role(told[1], Role.AFFECTED) == {"a"}


def test_at_equal_distance_the_more_trusted_edge_decides():
    mesh = graph(
        service("a", "b"),
        service("b"),
        service("c"),
        edges("config", ("a", "c"), provenance="router", trust=0.8),
    )
    told = judged(mesh, *down("a", seconds=9), *down("c"), *down("b", seconds=5))
    assert {e.root.name: role(e, Role.AFFECTED) for e in told} == {"b": {"a"}, "c": set()}


def test_a_share_of_the_instances_decides_between_service_and_instance():
    mesh = graph(service("pay", count=4))
    assert roots(judged(mesh, bad(inst("pay", number=1)))) == ["instance:pay-1"]
    two = judged(mesh, bad(inst("pay", number=1)), bad(inst("pay", number=2), 7))
    assert roots(two) == ["service:pay"]
    assert two[0].members[0].since == bad(inst("pay"), 7).since  # it failed as a service when the second did


def test_the_only_instance_is_the_service():
    assert roots(judged(graph(service("pay")), *down("pay"))) == ["service:pay"]


def test_a_service_of_unknown_size_is_not_blamed_as_a_whole():
    (told,) = judged(graph(), bad(inst("pay")))
    assert told.root.kind == "instance"
    assert (told.root.name, told.root.node, told.root.instance) == ("pay", "n-pay-1", "pay-1")


def test_an_instance_of_a_service_whose_dependency_fails_is_affected():
    mesh = graph(service("a", "b", count=4), service("b"))
    (told,) = judged(mesh, *down("b"), bad(inst("a"), 5))
    assert roots([told]) == ["service:b"]
    assert role(told, Role.AFFECTED) == {"a-1"}


def test_instances_that_left_still_count():
    mesh = graph(service("pay", count=0, nodes=(), seconds=30))
    gone = bad(inst("pay"), 10, State.VANISHED)
    (told,) = judged(mesh, gone)
    assert roots([told]) == ["service:pay"]
    assert told.members[0].state is State.VANISHED


@pytest.mark.parametrize(
    "state", [State.WARNING, State.MAINTENANCE, State.FLAPPING, State.UNKNOWN, State.RECOVERING]
)
def test_only_critical_and_vanished_are_failing(state: State):
    assert judged(graph(*CHAIN), bad(inst("c"), 0, state)) == ()
    (told,) = judged(graph(*CHAIN), bad(inst("c"), 0, state), *down("b"))
    assert roots([told]) == ["service:b"]


def test_a_warning_fails_where_the_operator_says_so():
    strict = CorrelatePolicy(warning_opens=True)
    assert roots(judged(graph(*CHAIN), bad(inst("c"), 0, State.WARNING), policy=strict)) == ["service:c"]


# ---- sidecars and edges


def test_a_sidecar_is_the_service_it_fronts():
    mesh = graph(service("a"), service("b"), sidecar("a", "b"), sidecar("b"))
    proxy = bad(inst("b-sidecar-proxy", "n-b-1"))
    (told,) = judged(mesh, proxy, *down("a", seconds=5))
    assert roots([told]) == ["service:b"]
    assert role(told, Role.AFFECTED) == {"a"}


def test_an_instance_and_its_sidecar_are_one_unit():
    mesh = graph(service("b", count=4), sidecar("b", count=4))
    told = judged(mesh, bad(inst("b")), bad(inst("b-sidecar-proxy", "n-b-1")))
    assert roots(told) == ["instance:b-1"]


def test_the_order_in_which_sidecars_and_edges_are_learned_does_not_matter():
    facts = [
        service("a"),
        service("b"),
        sidecar("a", "b"),
        sidecar("b"),
        edges("x", ("b-sidecar-proxy", "c")),
        service("c"),
    ]
    for order in (facts, facts[::-1]):
        (told,) = judged(graph(*order), *down("c"), *down("b"), *down("a"))
        assert roots([told]) == ["service:c"]
        assert role(told, Role.AFFECTED) == {"a", "b"}


def test_a_denied_pair_takes_permission_away_but_not_configuration():
    def mesh(*more: EdgesFact | ServiceFact):
        return graph(service("a"), service("b"), edges("intentions", ("a", "b")), *more)

    deny = EdgesFact(source="deny", edges=(), denied=((svc("a"), svc("b")),), at=T0)
    both = (*down("a", seconds=5), *down("b"))
    assert roots(judged(mesh(), *both)) == ["service:b"]
    assert roots(judged(mesh(deny), *both)) == ["service:b", "service:a"]
    assert roots(judged(mesh(deny, service("a", "b")), *both)) == ["service:b"]


def test_a_wildcard_intention_is_no_edge():
    mesh = graph(service("a"), service("b"), edges("intentions", ("*", "b"), ("a", "*"), trust=0.9))
    assert len(judged(mesh, *down("a"), *down("b"))) == 2


def test_low_trust_edges_count_only_for_callers_without_better_ones():
    weak = edges("weak", ("a", "b"), provenance="service-topology", trust=0.1)
    lone = graph(service("a"), service("b"), weak)
    rich = graph(service("a", "c"), service("b"), service("c"), weak)
    both = (*down("a", seconds=5), *down("b"))
    assert roots(judged(lone, *both)) == ["service:b"]
    assert roots(judged(rich, *both)) == ["service:b", "service:a"]


def test_a_prepared_query_counts_only_if_a_service_has_its_name():
    proxy = ServiceFact(
        target=svc("a-sidecar-proxy"),
        kind="connect-proxy",
        destination="a",
        upstreams=(Upstream(name="b", type="prepared_query"),),
        at=T0,
    )
    both = (*down("a", seconds=5), *down("b"))
    mesh = graph(service("a"), proxy)
    assert mesh.callees(svc("a").key) == {}
    mesh.learn([service("b")])
    assert roots(judged(mesh, *both)) == ["service:b"]
    mesh.learn([ServiceFact(target=svc("b"), gone=True, at=T0)])
    assert mesh.callees(svc("a").key) == {}


def test_an_upstream_in_another_datacenter_is_another_service():
    proxy = ServiceFact(
        target=svc("a-sidecar-proxy"),
        kind="connect-proxy",
        destination="a",
        upstreams=(Upstream(name="b", dc="dc2"),),
        at=T0,
    )
    mesh = graph(service("a"), service("b"), proxy)
    assert list(mesh.callees(svc("a").key)) == [svc("b", "dc2").key]
    assert len(judged(mesh, *down("a"), *down("b"))) == 2


def test_what_is_registered_nowhere_is_never_blamed():
    mesh = graph(service("a", "ghost"), service("b", "ghost"))
    assert sorted(roots(judged(mesh, *down("a"), *down("b")))) == ["service:a", "service:b"]


# ---- cycles


def test_of_a_cycle_the_first_to_fail_is_blamed_with_less_confidence():
    mesh = graph(service("a", "b"), service("b", "c"), service("c", "a"), service("x", "a"))
    (told,) = judged(mesh, *down("a", seconds=4), *down("b", seconds=2), *down("c", seconds=6))
    assert roots([told]) == ["service:b"]
    assert role(told, Role.AFFECTED) == {"a", "c"}
    assert role(told, Role.AT_RISK) == {"x"}
    assert told.confidence < 0.7


def test_a_cycle_that_depends_on_a_failing_service_is_affected():
    mesh = graph(service("a", "b"), service("b", "a", "c"), service("c"))
    (told,) = judged(mesh, *down("a"), *down("b"), *down("c", seconds=9))
    assert roots([told]) == ["service:c"]
    assert role(told, Role.AFFECTED) == {"a", "b"}


def test_a_service_that_calls_itself_is_no_cycle():
    (told,) = judged(graph(service("a", "a")), *down("a"))
    assert roots([told]) == ["service:a"]


# ---- hidden roots


def test_a_green_service_is_blamed_when_it_alone_explains_all_its_callers():
    mesh = graph(service("a", "s", "p"), service("b", "s"), service("s"), service("p"), service("z", "p"))
    (told,) = judged(mesh, *down("a"), *down("b", seconds=3))
    assert roots([told]) == ["service:s"]
    assert told.members[0].state is State.PASSING
    assert told.confidence <= 0.6
    assert role(told, Role.AFFECTED) == {"a", "b"}


@pytest.mark.parametrize(
    "more",
    [
        (service("well", "s"),),  # a caller of it stands
        (service("a", "s", "t"), service("b", "s", "t"), service("t")),  # another explains the same
        (ServiceFact(target=svc("s"), gone=True, at=T0),),  # it does not exist
    ],
)
def test_a_green_service_is_left_alone_when(more: tuple[ServiceFact, ...]):
    mesh = graph(service("a", "s"), service("b", "s"), service("s"), *more)
    assert sorted(roots(judged(mesh, *down("a"), *down("b")))) == ["service:a", "service:b"]


# ---- nodes and zones


def spread(name: str, *calls: str) -> ServiceFact:
    """Three instances, one on each of the nodes n1, n2, n3."""
    return service(name, *calls, count=3, nodes=("n1", "n2", "n3"))


FLEET = (spread("a", "b"), spread("b"), spread("c"))


def test_a_node_whose_check_fails_is_blamed_and_what_stands_elsewhere_is_isolated():
    mesh = graph(*FLEET)
    (told,) = judged(mesh, bad(node("n1")), bad(inst("a", "n1")), bad(inst("b", "n1")))
    assert roots([told]) == ["node:n1"]
    assert role(told, Role.ISOLATED) == {"a-1", "b-1"}
    assert told.confidence >= 0.9


def test_a_dead_node_takes_its_only_services_and_their_callers_with_it_though_checks_are_frozen():
    mesh = graph(service("db", nodes=["n1"]), service("web", "db"))
    (told,) = judged(mesh, bad(node("n1")), *down("web", seconds=9))
    assert roots([told]) == ["node:n1"]
    assert role(told, Role.AFFECTED) == {"db", "web"}


def test_instances_that_fail_together_on_one_node_blame_the_node():
    (told,) = judged(graph(*FLEET), *(bad(inst(name, "n1")) for name in "abc"))
    assert roots([told]) == ["node:n1"]
    assert told.members[0].state is State.CRITICAL
    assert told.members[0].kind == "node"


def test_on_a_single_node_a_cascade_is_no_node_failure():
    mesh = graph(*(service(name, *calls, nodes=["n1"]) for name, calls in (("a", "b"), ("b", "c"), ("c", ""))))
    told = judged(mesh, *(bad(inst(name, "n1")) for name in "abc"))
    assert roots(told) == ["service:c"]


def test_half_of_the_instances_of_a_single_node_are_no_node_failure():
    """Several instances of a service on one node are so many units of it, also where only the service told so."""
    services = [service(name, count=4, nodes=("n1",)) for name in "abcde"]
    half = [bad(inst(name, "n1", number)) for name in "abcde" for number in (1, 2)]
    assert {e.root.kind for e in judged(graph(*services, place("n1")), *half)} == {"service"}


def test_services_that_fail_everywhere_do_not_blame_a_node():
    told = judged(graph(*FLEET), *(bad(inst(name, n)) for name in "abc" for n in ("n1", "n2", "n3")))
    assert {e.root.kind for e in told} == {"service"}


def test_a_node_in_maintenance_and_what_runs_there_is_nobodys_fault():
    mesh = graph(*FLEET)
    assert judged(mesh, bad(node("n1"), 0, State.MAINTENANCE), bad(inst("a", "n1"))) == ()


def test_a_sidecar_of_an_instance_in_maintenance_is_planned():
    mesh = graph(service("b"), sidecar("b"))
    planned = bad(inst("b"), 0, State.MAINTENANCE)
    assert judged(mesh, planned, bad(inst("b-sidecar-proxy", "n-b-1"))) == ()


ZONES = tuple(place(f"n{i}", zone) for i, zone in ((1, "east"), (2, "east"), (3, "west"), (4, "west")))


def test_a_zone_whose_nodes_are_dead_is_blamed_instead_of_them():
    mesh = graph(*ZONES, service("a", count=2, nodes=("n1", "n3")))
    (told,) = judged(mesh, bad(node("n1")), bad(node("n2"), 3), bad(inst("a", "n1")))
    assert roots([told]) == ["zone:east"]
    assert role(told, Role.AFFECTED) == {"n1", "n2", "a"}  # one of two instances of a: half of it


def test_when_every_zone_fails_no_zone_is_blamed():
    told = judged(graph(*ZONES), *(bad(node(f"n{i}")) for i in (1, 2, 3, 4)))
    assert {e.root.kind for e in told} == {"node"}


def test_instances_that_fail_in_one_zone_only_blame_the_zone():
    pairs = [("a", "n1"), ("b", "n2"), ("a", "n3"), ("b", "n4")]
    mesh = graph(*ZONES, *(service(s, count=3, nodes=[n for x, n in pairs if x == s] + ["n9"]) for s in "ab"))
    (told,) = judged(mesh, bad(inst("a", "n1")), bad(inst("b", "n2")))
    assert roots([told]) == ["zone:east"]


# ---- sentences


def test_why_names_edges_onsets_and_shares():
    (told,) = judged(graph(*CHAIN), *down("c"), *down("b", seconds=5))
    text = " ".join(told.why)
    assert "1 of 1 instances of c fail" in text
    assert "1 of its 1 known callers fail" in text
    assert "b fails and depends on c (declared, trust 0.90); it began 5 s later." in text
    assert len(told.why) <= 8


def test_many_causes_at_once_make_each_less_sure():
    mesh = graph(*(service(f"s{i}") for i in range(10)))
    alone = judged(mesh, *down("s0"))[0]
    crowd = judged(mesh, *(t for i in range(10) for t in down(f"s{i}")))
    assert len(crowd) == 10
    assert all(e.confidence < alone.confidence / 2 for e in crowd)
    assert all(any("10 services" in line for line in e.why) for e in crowd)


def test_at_risk_is_capped_and_says_so():
    mesh = graph(service("s"), *(service(f"c{i:03}", "s") for i in range(120)))
    (told,) = judged(mesh, *down("s"))
    assert len(role(told, Role.AT_RISK)) == 50
    assert any("120" in line for line in told.why)
