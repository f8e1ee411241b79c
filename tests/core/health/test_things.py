"""From checks to instances, nodes and services: maintenance, dead nodes, sidecars, counts, facts."""

from __future__ import annotations

from consulguard.model import InstanceFact, ServiceFact, State, Status

from .mesh import Mesh, after, facts_of, inst, look, node, node_fact, service, sidecar_of

WEB = inst("web")
C = inst("c")
SIDECAR = inst("c-sidecar-proxy")
FOLD = facts_of("c-sidecar-proxy", sidecar_of("c"), serves="c")


def listed(target_name: str, on: str = "n1", status: Status = Status.PASSING) -> InstanceFact:
    return InstanceFact(target=inst(target_name, on), status=status)


# ---- an instance and its checks


def test_the_worst_check_decides_and_all_failing_ones_are_named() -> None:
    mesh = Mesh()
    mesh.observe(
        look(WEB, "disk", "warning", output="90 %", index=3),
        look(WEB, "http", "critical", output="refused", index=2),
        look(WEB, "tcp", "passing"),
    )
    trouble = mesh.trouble(WEB)
    assert trouble.state is State.CRITICAL
    assert trouble.checks == ("http", "disk")
    assert (trouble.output, trouble.index) == ("refused", 3)


def test_one_answer_with_many_checks_is_one_look() -> None:
    mesh = Mesh()
    answer = [look(WEB, f"c{n}", "critical") for n in range(5)]
    mesh.observe(*answer)
    assert mesh.trouble(WEB).looks == 1
    mesh.observe(*answer, at=1)
    assert mesh.trouble(WEB).looks == 2


def test_recovering_names_what_recovers() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical")
    mesh.see(WEB, "http", "passing", at=1)
    assert mesh.trouble(WEB).checks == ("http",)


# ---- maintenance


def test_maintenance_covers_what_fails_under_it() -> None:
    mesh = Mesh()
    mesh.observe(look(WEB, "http", "critical"), look(WEB, "_service_maintenance:web", "maintenance"))
    assert mesh.of(WEB) is State.MAINTENANCE
    assert mesh.trouble(WEB).checks[0] == "_service_maintenance:web"
    mesh.see(WEB, "_service_maintenance:web", "absent", at=5)
    assert mesh.of(WEB) is State.CRITICAL


def test_the_end_of_a_maintenance_needs_no_hold_down() -> None:
    mesh = Mesh()
    mesh.see(WEB, "_service_maintenance:web", "maintenance")
    mesh.see(WEB, "_service_maintenance:web", "absent", at=5)
    assert mesh.state == Mesh().state


def test_leaving_under_maintenance_is_no_recovery_of_what_failed() -> None:
    mesh = Mesh()
    mesh.observe(look(WEB, "http", "critical"), look(WEB, "_service_maintenance:web", "maintenance"))
    mesh.observe(look(WEB, "http", "absent"), look(WEB, "_service_maintenance:web", "absent"), at=5)
    assert mesh.of(WEB) is State.VANISHED


def test_a_node_under_maintenance_covers_its_instances() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", inst("db")))
    mesh.see(WEB, "http", "critical")
    changes = mesh.see(node(), "_node_maintenance", "maintenance", at=1)
    assert {c.target.key: c.now for c in changes if c.level == "instance"} == {
        WEB.key: State.MAINTENANCE,
        inst("db").key: State.MAINTENANCE,
    }
    mesh.see(node(), "_node_maintenance", "absent", at=2)
    assert mesh.of(WEB) is State.CRITICAL
    assert mesh.of(inst("db")) is State.PASSING


# ---- nodes


def test_a_dead_node_takes_its_instances_along_and_brings_them_back() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", WEB, inst("db")))
    assert not mesh.state.troubles
    mesh.see(node(), "serfHealth", "critical", output="unreachable", index=9)
    for target in (WEB, inst("db"), node()):
        assert mesh.trouble(target).state is State.CRITICAL
        assert mesh.trouble(target).checks == ("serfHealth",)
    mesh.see(node(), "serfHealth", "passing", at=10)
    assert mesh.of(WEB) is State.RECOVERING
    mesh.tick(40)
    assert not mesh.state.troubles


def test_looks_at_the_node_are_looks_at_its_instances() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", WEB))
    mesh.see(node(), "serfHealth", "critical")
    mesh.see(node(), "serfHealth", "critical", at=1)
    assert mesh.trouble(WEB).looks == 2


def test_an_instance_learned_later_has_failed_as_long_as_its_node() -> None:
    mesh = Mesh()
    mesh.see(node(), "serfHealth", "critical")
    changes = mesh.learn(node_fact("n1", WEB), at=5)
    assert [(c.level, c.now) for c in changes] == [("instance", State.CRITICAL), ("service", State.CRITICAL)]
    assert mesh.trouble(WEB).since == after(0)


def test_an_instance_with_its_own_trouble_needs_no_facts_to_be_on_its_node() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "warning")
    mesh.see(node(), "serfHealth", "critical", at=1)
    assert mesh.of(WEB) is State.CRITICAL
    assert mesh.trouble(WEB).checks == ("serfHealth", "http")
    assert mesh.trouble(WEB).not_passing_since == after(0)


def test_who_leaves_a_dead_node_has_vanished_and_may_come_back() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", WEB, inst("db")))
    mesh.see(node(), "serfHealth", "critical")
    mesh.learn(node_fact("n1", inst("db"), at=10), at=10)
    assert mesh.of(WEB) is State.VANISHED
    assert mesh.trouble(WEB).not_passing_since == after(0)
    assert mesh.of(inst("db")) is State.CRITICAL
    mesh.see(node(), "serfHealth", "passing", at=20)
    mesh.tick(50)
    assert mesh.of(WEB) is State.VANISHED
    mesh.learn(node_fact("n1", WEB, inst("db"), at=60), at=60)
    assert mesh.of(WEB) is State.RECOVERING
    mesh.tick(90)
    assert not mesh.state.troubles


def test_a_check_that_speaks_proves_that_its_instance_is_there_again() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", WEB))
    mesh.see(node(), "serfHealth", "critical")
    mesh.learn(node_fact("n1", at=10), at=10)
    assert mesh.of(WEB) is State.VANISHED
    mesh.see(WEB, "http", "passing", at=20)
    assert mesh.of(WEB) is State.CRITICAL  # its node still is
    mesh.see(node(), "serfHealth", "passing", at=21)
    mesh.tick(60)
    assert not mesh.state.troubles


def test_who_leaves_a_healthy_node_was_not_in_trouble() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", WEB))
    mesh.learn(node_fact("n1", at=1), at=1)
    assert not mesh.state.troubles
    assert not mesh.state.checks


def test_a_dead_node_that_is_reaped_has_vanished_with_all_its_instances_until_forgotten() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", WEB))
    mesh.see(node(), "serfHealth", "critical")
    mesh.see(node(), "serfHealth", "absent", at=10)
    mesh.learn(node_fact("n1", gone=True, at=11), at=11)
    assert mesh.of(node()) is State.VANISHED
    assert mesh.of(WEB) is State.VANISHED
    mesh.tick(10 + 3600)
    assert mesh.state == Mesh().state


def test_a_node_that_left_in_peace_leaves_nothing_behind() -> None:
    mesh = Mesh()
    mesh.learn(node_fact("n1", WEB))
    mesh.learn(node_fact("n1", gone=True, at=1), at=1)
    assert mesh.state == Mesh().state


# ---- sidecars


def test_one_dead_service_with_a_sidecar_is_one_trouble() -> None:
    mesh = Mesh()
    mesh.learn(FOLD)
    changes = mesh.observe(
        look(C, "service:c", "critical"),
        look(SIDECAR, "service:c-sidecar-proxy:1", "critical", type="tcp"),
        look(SIDECAR, "service:c-sidecar-proxy:2", "critical", type="alias"),
    )
    assert list(mesh.state.troubles) == [C.key]
    assert [c.target for c in changes if c.level == "instance"] == [C]
    assert mesh.trouble(C).checks == (
        "service:c",
        "service:c-sidecar-proxy:1",
        "service:c-sidecar-proxy:2",
    )
    assert mesh.of(SIDECAR) is State.CRITICAL
    assert mesh.of(service("c-sidecar-proxy")) is State.PASSING


def test_a_dead_sidecar_alone_is_its_destinations_trouble_under_the_sidecars_check() -> None:
    mesh = Mesh()
    mesh.learn(FOLD)
    mesh.see(SIDECAR, "service:c-sidecar-proxy:1", "critical", output="refused")
    assert list(mesh.state.troubles) == [C.key]
    assert mesh.trouble(C).checks == ("service:c-sidecar-proxy:1",)


def test_facts_that_come_later_fold_what_stood_for_itself() -> None:
    mesh = Mesh()
    mesh.see(SIDECAR, "tcp", "critical")
    mesh.see(SIDECAR, "tcp", "critical", at=1)
    assert mesh.of(SIDECAR) is State.CRITICAL
    assert mesh.of(service("c-sidecar-proxy")) is State.CRITICAL
    changes = mesh.learn(FOLD, at=5)
    assert {(c.level, c.target.name): c.now for c in changes} == {
        ("instance", "c-sidecar-proxy"): State.PASSING,
        ("instance", "c"): State.CRITICAL,
        ("service", "c-sidecar-proxy"): State.PASSING,
        ("service", "c"): State.CRITICAL,
    }
    assert list(mesh.state.troubles) == [C.key]
    assert (mesh.trouble(C).since, mesh.trouble(C).looks) == (after(0), 2)  # it was so all the while
    assert mesh.learn(FOLD, at=6) == []


def test_a_sidecar_given_to_another_instance_moves() -> None:
    mesh = Mesh()
    mesh.learn(FOLD)
    mesh.see(SIDECAR, "tcp", "critical")
    other = InstanceFact(target=SIDECAR, destination_instance="d")
    mesh.learn(facts_of("c-sidecar-proxy", other, serves="d"), at=1)
    assert list(mesh.state.troubles) == [inst("d").key]
    mesh.learn(facts_of("c-sidecar-proxy", InstanceFact(target=SIDECAR), at=2), at=2)
    assert list(mesh.state.troubles) == [SIDECAR.key]


def test_maintenance_of_the_service_covers_its_sidecars_alias_check() -> None:
    mesh = Mesh()
    mesh.learn(FOLD)
    mesh.observe(
        look(C, "_service_maintenance:c", "maintenance"),
        look(SIDECAR, "alias", "critical", type="alias"),
    )
    assert mesh.of(C) is State.MAINTENANCE


def test_a_sidecar_on_a_dead_node_makes_no_trouble_of_its_own() -> None:
    mesh = Mesh()
    mesh.learn(FOLD, node_fact("n1", C, SIDECAR))
    mesh.see(node(), "serfHealth", "critical")
    assert set(mesh.state.troubles) == {C.key, node().key}


def test_a_sidecar_that_left_while_failing_stays_folded_until_it_is_forgotten() -> None:
    mesh = Mesh()
    mesh.learn(FOLD)
    mesh.see(SIDECAR, "tcp", "critical")
    mesh.see(SIDECAR, "tcp", "absent", at=1)
    mesh.learn(ServiceFact(target=service("c-sidecar-proxy"), gone=True, at=after(2)), at=2)
    assert {key: t.state for key, t in mesh.state.troubles.items()} == {C.key: State.VANISHED}
    mesh.tick(2 + 3600)
    assert mesh.state == Mesh().state


# ---- services


def test_a_service_is_judged_by_the_number_facts_tell() -> None:
    mesh = Mesh()
    mesh.learn(ServiceFact(target=service("web"), count=3, at=after(0)))
    mesh.see(inst("w1", of="web"), "http1", "critical")
    assert mesh.of(service("web")) is State.WARNING
    mesh.see(inst("w2", of="web"), "http2", "critical", at=1)
    assert mesh.of(service("web")) is State.CRITICAL
    mesh.learn(ServiceFact(target=service("web"), count=30, at=after(2)), at=2)
    assert mesh.of(service("web")) is State.WARNING


def test_a_service_whose_instances_all_left_has_vanished() -> None:
    mesh = Mesh()
    mesh.learn(facts_of("web", listed("web")))
    mesh.see(WEB, "http", "critical")
    mesh.see(WEB, "http", "absent", at=1)
    mesh.learn(ServiceFact(target=service("web"), gone=True, at=after(2)), at=2)
    assert mesh.of(service("web")) is State.VANISHED


# ---- corrections by facts


def test_an_instance_listed_as_passing_after_it_vanished_recovers_by_the_hold_down() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical", at=0)
    mesh.see(WEB, "http", "absent", at=10)
    mesh.learn(facts_of("web", listed("web"), at=20), at=20)
    assert mesh.of(WEB) is State.RECOVERING
    mesh.tick(50)
    assert mesh.of(WEB) is State.PASSING


def test_facts_older_than_the_leaving_correct_nothing() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical", at=0)
    mesh.see(WEB, "http", "absent", at=10)
    mesh.learn(facts_of("web", listed("web"), at=9), at=20)
    assert mesh.of(WEB) is State.VANISHED


def test_facts_never_speak_against_a_failing_look() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical")
    mesh.learn(facts_of("web", listed("web"), at=10), at=10)
    assert mesh.of(WEB) is State.CRITICAL
    mesh.learn(facts_of("web", at=20), at=20)  # not listed any more: the look that says absent will come
    assert mesh.of(WEB) is State.CRITICAL


def test_an_instance_listed_as_failing_has_not_recovered() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical")
    mesh.see(WEB, "http", "absent", at=1)
    mesh.learn(facts_of("web", listed("web", status=Status.CRITICAL), at=10), at=10)
    assert mesh.of(WEB) is State.VANISHED


def test_facts_alone_are_no_trouble() -> None:
    mesh = Mesh()
    facts = (facts_of("web", listed("web"), listed("web", "n2")), FOLD, node_fact("n1", WEB, C, SIDECAR))
    assert mesh.learn(*facts) == []
    assert not mesh.state.checks
    assert not mesh.state.troubles
    assert mesh.wake is None
