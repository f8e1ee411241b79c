"""One check: windows and their edges, flapping, silence, vanishing."""

from __future__ import annotations

import pytest
from consulguard.model import State, Status
from consulguard.policy import HealthPolicy

from .mesh import Mesh, after, inst, look, node

WEB = inst("web")
MINUTE = HealthPolicy(recovery_s=60.0, flap_window_s=60.0, calm_s=60.0, vanished_s=60.0)


def is_empty(mesh: Mesh) -> bool:
    return mesh.state == Mesh().state


def test_a_healthy_mesh_leaves_nothing_behind() -> None:
    mesh = Mesh()
    assert mesh.observe(*(look(inst(f"i{n}"), f"c{n}", "passing") for n in range(50))) == []
    assert mesh.observe(look(WEB, "http", "absent")) == []
    assert is_empty(mesh)
    assert mesh.wake is None


def test_a_failure_is_told_at_every_level_and_remembered() -> None:
    mesh = Mesh()
    changes = mesh.see(WEB, "http", "critical", index=7, output="refused")
    assert [(c.level, c.was, c.now) for c in changes] == [
        ("check", State.PASSING, State.CRITICAL),
        ("instance", State.PASSING, State.CRITICAL),
        ("service", State.PASSING, State.CRITICAL),
    ]
    assert changes[0].check == "http"
    assert changes[0].evidence == "refused"
    trouble = mesh.trouble(WEB)
    assert (trouble.state, trouble.since, trouble.looks) == (State.CRITICAL, after(0), 1)
    assert (trouble.checks, trouble.output, trouble.index) == (("http",), "refused", 7)


@pytest.mark.parametrize(("seconds", "now"), [(59, State.RECOVERING), (60, State.PASSING), (61, State.PASSING)])
def test_recovery_is_held_down(seconds: float, now: State) -> None:
    mesh = Mesh(MINUTE)
    mesh.see(WEB, "http", "critical", at=0)
    mesh.see(WEB, "http", "passing", at=100)
    assert mesh.wake == 160
    mesh.tick(100 + seconds)
    assert mesh.of(WEB) is now


def test_a_dip_in_the_hold_down_is_the_same_trouble() -> None:
    mesh = Mesh(MINUTE)
    mesh.see(WEB, "http", "critical", at=0)
    mesh.see(WEB, "http", "passing", at=100)
    mesh.see(WEB, "http", "critical", at=159)
    assert mesh.trouble(WEB).not_passing_since == after(0)
    assert mesh.trouble(WEB).since == after(159)


def test_a_failure_after_the_hold_down_is_a_new_trouble_even_if_nobody_ticked() -> None:
    mesh = Mesh(MINUTE)
    mesh.see(WEB, "http", "critical", at=0)
    mesh.see(WEB, "http", "passing", at=100)
    mesh.see(WEB, "http", "critical", at=161)
    assert mesh.trouble(WEB).not_passing_since == after(161)


def flap(mesh: Mesh, *times: float) -> None:
    for n, at in enumerate(times):
        mesh.see(WEB, "http", "passing" if n % 2 else "critical", at=at, index=n + 1)


@pytest.mark.parametrize(("last", "flapping"), [(59, True), (60, False), (61, False)])
def test_four_changes_within_the_window_are_flapping(last: float, flapping: bool) -> None:
    mesh = Mesh(MINUTE)
    flap(mesh, 0, 20, 40, last)
    assert (mesh.of(WEB) is State.FLAPPING) is flapping


def test_flapping_is_seen_across_recoveries() -> None:
    policy = HealthPolicy(recovery_s=10.0, flap_window_s=600.0)
    mesh = Mesh(policy)
    flap(mesh, 0, 20)
    mesh.tick(30)
    assert mesh.of(WEB) is State.PASSING
    assert mesh.state.checks  # its history
    for n, at in enumerate((100, 120)):
        mesh.see(WEB, "http", "passing" if n % 2 else "critical", at=at)
    assert mesh.of(WEB) is State.FLAPPING


def test_the_history_is_forgotten_with_the_window() -> None:
    mesh = Mesh()
    flap(mesh, 0, 20)
    mesh.tick(50)
    assert mesh.of(WEB) is State.PASSING
    assert mesh.wake == 620
    mesh.tick(620)
    assert is_empty(mesh)


@pytest.mark.parametrize(("last", "now"), [("passing", State.RECOVERING), ("critical", State.CRITICAL)])
def test_calm_shows_the_last_status_again(last: str, now: State) -> None:
    mesh = Mesh(MINUTE)
    flap(mesh, 0, 1, 2, 3)
    if last == "critical":
        mesh.see(WEB, "http", "critical", at=4)
    calm_from = 4 if last == "critical" else 3
    mesh.tick(calm_from + 59)
    assert mesh.of(WEB) is State.FLAPPING
    mesh.tick(calm_from + 60)
    assert mesh.of(WEB) is now
    assert mesh.trouble(WEB).not_passing_since == after(0)
    mesh.see(WEB, "http", last, at=calm_from + 61)
    assert mesh.of(WEB) is now  # the old changes do not count again


def test_a_flapper_that_goes_on_stays_one() -> None:
    mesh = Mesh(MINUTE)
    flap(mesh, *range(0, 600, 10))
    mesh.tick(649)
    assert mesh.of(WEB) is State.FLAPPING
    assert mesh.trouble(WEB).since == after(30)


def test_no_window_is_shorter_than_the_checks_own_rhythm() -> None:
    mesh = Mesh(MINUTE)
    mesh.see(WEB, "http", "critical", at=0, interval_s=300.0)
    mesh.see(WEB, "http", "passing", at=300, interval_s=300.0)
    assert mesh.wake == 300 + 600
    mesh.see(WEB, "http", "critical", at=600)  # an interval once told stays known
    mesh.see(WEB, "http", "passing", at=900)
    assert mesh.of(WEB) is State.FLAPPING  # four changes, each one interval apart


@pytest.mark.parametrize("interval", [-1.0, 0.0, float("nan"), float("inf"), 1e300])
def test_an_absurd_interval_does_no_harm(interval: float) -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical", interval_s=interval)
    mesh.see(WEB, "http", "passing", at=1, interval_s=interval)
    assert mesh.wake is not None
    assert mesh.wake <= 1 + 2 * 86400


def test_a_new_output_is_no_flap() -> None:
    mesh = Mesh()
    for n in range(10):
        mesh.see(WEB, "http", "critical", at=n, index=n + 1, output=f"try {n}", changed=n == 0)
    assert mesh.of(WEB) is State.CRITICAL
    assert mesh.trouble(WEB).looks == 10


def test_a_new_index_without_anything_new_is_a_flap_that_was_missed() -> None:
    mesh = Mesh()
    for n in range(4):
        assert mesh.of(WEB) is not State.FLAPPING
        mesh.see(WEB, "http", "critical", at=n, index=n + 1, output="refused", changed=n == 0)
    assert mesh.of(WEB) is State.FLAPPING


def test_the_same_index_again_is_no_news() -> None:
    mesh = Mesh()
    for n in range(10):
        mesh.see(WEB, "http", "critical", at=n, index=7, output="refused", changed=False)
    assert mesh.of(WEB) is State.CRITICAL


def test_an_output_too_long_to_compare_is_no_evidence() -> None:
    mesh = Mesh()
    for n in range(10):
        mesh.see(WEB, "http", "critical", at=n, index=n + 1, output="x" * 600 + str(n), changed=n == 0)
    assert mesh.of(WEB) is State.CRITICAL
    assert len(mesh.trouble(WEB).output) == 500


def test_people_who_toggle_maintenance_are_no_flappers() -> None:
    mesh = Mesh()
    for n in range(6):
        mesh.see(WEB, "_service_maintenance:web", "absent" if n % 2 else "maintenance", at=n)
    assert is_empty(mesh)


@pytest.mark.parametrize("status", ["warning", "critical"])
def test_silence_makes_trouble_unknown(status: str) -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", status)
    mesh.see(WEB, "http", "unknown", at=1)
    assert mesh.of(WEB) is State.UNKNOWN
    assert mesh.trouble(WEB).not_passing_since == after(0)
    mesh.tick(1e6)
    assert mesh.of(WEB) is State.UNKNOWN  # time alone teaches nothing
    mesh.see(WEB, "http", status, at=1e6)
    assert mesh.of(WEB) is State(status)


def test_silence_is_no_flap_evidence() -> None:
    mesh = Mesh()
    for n in range(10):
        mesh.see(WEB, "http", "unknown" if n % 2 else "critical", at=n)
    mesh.see(WEB, "http", "critical", at=10)
    assert mesh.of(WEB) is State.CRITICAL


def test_silence_about_a_passing_check_is_unknown_and_ends_by_the_hold_down() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "unknown")
    assert mesh.of(WEB) is State.UNKNOWN
    mesh.see(WEB, "http", "passing", at=10)
    assert mesh.of(WEB) is State.RECOVERING
    mesh.tick(40)
    assert is_empty(mesh)


@pytest.mark.parametrize(("seconds", "there"), [(59, True), (60, False), (61, False)])
def test_who_vanished_is_remembered_for_a_while(seconds: float, there: bool) -> None:
    mesh = Mesh(MINUTE)
    mesh.see(WEB, "http", "critical", output="refused")
    mesh.see(WEB, "http", "absent", at=10)
    mesh.tick(10 + seconds)
    assert (WEB.key in mesh.state.troubles) is there
    if there:
        assert mesh.of(WEB) is State.VANISHED
        assert mesh.trouble(WEB).output == "refused"


def test_a_crash_loop_that_registers_anew_each_time_is_flapping() -> None:
    mesh = Mesh()
    for n, status in enumerate(["critical", "absent", "critical", "absent", "critical"]):
        mesh.see(WEB, "http", status, at=n)
    assert mesh.of(WEB) is State.FLAPPING


def test_two_claims_about_one_moment_the_worse_is_believed() -> None:
    for statuses in (("passing", "critical"), ("critical", "passing")):
        mesh = Mesh()
        mesh.observe(*(look(WEB, "http", status, index=5) for status in statuses))
        assert mesh.of(WEB) is State.CRITICAL


def test_of_two_looks_in_one_answer_the_later_one_counts() -> None:
    mesh = Mesh()
    mesh.observe(look(WEB, "http", "passing", index=6), look(WEB, "http", "critical", index=5))
    assert mesh.of(WEB) is State.RECOVERING


def test_ticks_add_no_looks_and_repeated_answers_do() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical")
    mesh.tick(5)
    assert mesh.trouble(WEB).looks == 1
    assert mesh.see(WEB, "http", "critical", at=6) == []
    assert mesh.trouble(WEB).looks == 2
    mesh.see(WEB, "http", "passing", at=7)
    assert mesh.trouble(WEB).looks == 1


def test_a_longer_hold_down_in_a_new_policy_holds_at_once() -> None:
    mesh = Mesh()
    mesh.see(WEB, "http", "critical")
    mesh.see(WEB, "http", "passing", at=10)
    mesh.policy = HealthPolicy(recovery_s=100.0)
    mesh.tick(40)
    assert mesh.of(WEB) is State.RECOVERING
    assert mesh.wake == 110


def test_a_check_that_moved_to_another_service_takes_its_trouble_along() -> None:
    mesh = Mesh()
    mesh.see(inst("a"), "c1", "critical")
    mesh.see(inst("b"), "c1", "critical", at=1)
    assert mesh.of(inst("a")) is State.PASSING
    assert mesh.of(inst("b")) is State.CRITICAL
    assert len(mesh.state.checks) == 1


def test_the_same_check_id_on_two_nodes_is_two_checks() -> None:
    mesh = Mesh()
    mesh.see(inst("web", "n1"), "http", "critical")
    mesh.see(inst("web", "n2"), "http", "warning")
    assert mesh.of(inst("web", "n1")) is State.CRITICAL
    assert mesh.of(inst("web", "n2")) is State.WARNING


def test_names_with_separators_do_not_collide() -> None:
    mesh = Mesh()
    mesh.see(node("a|b"), "c", Status.CRITICAL)
    mesh.see(node("a"), "b|c", Status.WARNING)
    assert mesh.of(node("a|b")) is State.CRITICAL
    assert mesh.of(node("a")) is State.WARNING
