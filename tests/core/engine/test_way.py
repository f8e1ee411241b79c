"""From a failing check to a verified repair, through the one step function."""

import msgspec
from consulguard.engine import EngineState, step
from consulguard.engine.step import restore, snapshot
from consulguard.events import Commanded, Do, Learned, LeaseChanged, Look, Observed, Started, Tell
from consulguard.model import (
    Decision,
    IncidentState,
    Mode,
    NodeFact,
    Observation,
    Outcome,
    Result,
    Role,
    RunState,
    State,
    Status,
    Target,
)
from consulguard.plan import run as runs
from consulguard.policy import GuardPolicy, Policy

from tests.core.engine.world import DRAIN_AND_RESTART, T0, Probe, World, instance, moment, service


def test_the_whole_way():
    w = World()
    w.fail(1)
    assert [m.role for m in w.incident.members if m.target == instance("c")] == [Role.ROOT_CAUSE]
    assert w.plan.steps[0].verdict.decision is Decision.WAIT
    assert w.plan.steps[0].verdict.guard == "hold_down"
    w.wait(3, 58)
    assert w.done() == []
    w.wait(62, 63)
    assert isinstance(w.last(Look), Look)
    w.confirm(64)
    assert w.done() == [("0/1", "consul.maintenance", True)]
    w.result(65, Outcome.DONE, index=110)
    w.see(66, instance("c"), Status.MAINTENANCE, "_maint")
    assert w.incident.state is IncidentState.OPEN, "what our own run put into maintenance is not recovered"
    w.confirm(67, Status.MAINTENANCE, index=111)
    w.result(68, Outcome.DONE)
    w.confirm(69, Status.MAINTENANCE, index=112)
    w.result(70, Outcome.DONE, index=113)
    assert [d[1] for d in w.done()] == ["consul.maintenance", "exec.run", "consul.maintenance"]
    assert w.run.state is RunState.VERIFYING
    w.see(71, instance("c"), Status.ABSENT, "_maint")
    w.see(71, instance("c"), Status.PASSING)
    for second in (72, 74, 76):
        w.look(second, Status.PASSING, 120)
    assert w.run.state is RunState.DONE
    w.wait(80, 180)
    assert w.incident.state is IncidentState.RESOLVED
    assert w.told(w.incident.id)[-1].severity == "resolved"
    assert [a.outcome for a in w.state.attempts] == ["verified"]


def test_a_look_from_before_the_effect_does_not_verify():
    w = World()
    w.to_first_effect()
    for second in (65, 67, 69):
        w.result(second, Outcome.DONE, index=200)
        if w.run.state is RunState.CONFIRMING:
            w.confirm(second + 1, Status.MAINTENANCE, index=201)
    for second in (72, 74, 76, 78):
        w.look(second, Status.PASSING, 201)
    assert w.run.state is RunState.VERIFYING
    for second in (80, 82, 84):
        w.look(second, Status.PASSING, 202)
    assert w.run.state is RunState.DONE


def test_mode_observe_plans_and_never_acts():
    w = World(mode=Mode.OBSERVE)
    w.fail(1)
    w.wait(3, 120)
    assert w.done() == []
    assert not any(isinstance(e, Look) for e in w.effects)
    assert w.plan.steps[0].verdict.decision is Decision.DENY
    assert [s.name for s in w.plan.steps] == ["drain", "restart", "rejoin"]


def test_mode_approve_asks():
    w = World(mode=Mode.APPROVE)
    w.fail(1)
    w.wait(3, 120)
    assert w.done() == []
    assert w.plan.steps[0].verdict.decision is Decision.ASK


def test_a_confirm_read_that_finds_it_healthy_stops_the_run():
    w = World()
    w.fail(1)
    w.wait(3, 63)
    w.confirm(64, Status.PASSING)
    w.wait(65, 70)
    assert w.done() == []


def test_a_confirm_read_that_fails_is_asked_again_later_not_at_once():
    w = World()
    w.fail(1)
    w.wait(3, 63)
    before = sum(isinstance(e, Look) for e in w.effects)
    w.confirm(64, Status.UNKNOWN, error="503")
    assert w.done() == []
    assert sum(isinstance(e, Look) for e in w.effects) == before
    w.wait(70, 75)
    assert sum(isinstance(e, Look) for e in w.effects) == before + 1


def test_a_failed_step_stops_the_run_and_undoes_what_it_did():
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE)
    w.confirm(66, Status.MAINTENANCE)
    w.result(67, Outcome.FAILED, "exit 1")
    assert w.done()[-1] == ("0/undo1", "consul.maintenance", False)
    assert [d[0] for d in w.done()] == ["0/1", "1/1", "0/undo1"]
    w.result(68, Outcome.DONE)
    assert w.run.state is RunState.FAILED


def test_on_failure_hold_leaves_it_to_a_person():
    w = World(DRAIN_AND_RESTART.replace("on_failure: undo", "on_failure: hold"))
    w.to_first_effect()
    w.result(65, Outcome.FAILED, "403")
    assert w.run.state is RunState.HELD
    w.wait(70, 4000)
    assert len(w.done()) == 1, "nothing goes on without a person"


def test_retry_waits_and_counts():
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE)
    w.confirm(66, Status.MAINTENANCE)
    w.result(67, Outcome.RETRY, "refused")
    w.wait(68, 76)
    assert [d[0] for d in w.done()] == ["0/1", "1/1"]
    w.wait(78, 83)
    w.confirm(84, Status.MAINTENANCE)
    assert [d[0] for d in w.done()] == ["0/1", "1/1", "1/2"]
    w.result(85, Outcome.RETRY, "refused")
    assert w.done()[-1][0] == "0/undo1"


def test_unknown_of_an_idempotent_action_is_done_again_once_under_the_same_id():
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.UNKNOWN, "timeout")
    assert [d[0] for d in w.done()] == ["0/1", "0/1"]
    w.result(66, Outcome.UNKNOWN, "timeout")
    assert isinstance(w.last(Probe), Probe)
    assert len(w.done()) == 2
    w.result(67, Outcome.UNKNOWN, "cannot tell")
    assert w.run.state is RunState.HELD


def test_unknown_of_any_other_action_is_probed_and_never_repeated():
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE)
    w.confirm(66, Status.MAINTENANCE)
    w.result(67, Outcome.UNKNOWN, "timeout")
    assert w.effects[-1] != w.last(Do)
    assert w.last(Probe).intent.id.endswith("/1/1")
    w.result(68, Outcome.UNKNOWN)
    assert w.run.state is RunState.HELD
    w.wait(70, 2000)
    assert [d[0] for d in w.done()] == ["0/1", "1/1"]


def test_a_restart_between_intent_and_result_makes_it_unknown():
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE)
    w.confirm(66, Status.MAINTENANCE)
    w.state = restore(snapshot(w.state))
    w.feed(LeaseChanged(at=moment(70), held=False, epoch=1))
    w.feed(Started(at=moment(70), life="x", version="1"))
    told = w.feed(LeaseChanged(at=moment(70), held=True, epoch=2))
    assert [type(e) for e in told if not isinstance(e, Tell)] == [Probe]
    assert [d[0] for d in w.done()] == ["0/1", "1/1"]


def test_a_restart_redrives_an_idempotent_intent_under_its_own_id_and_the_new_epoch():
    w = World()
    w.to_first_effect()
    w.feed(LeaseChanged(at=moment(70), held=False, epoch=1))
    w.feed(LeaseChanged(at=moment(70), held=True, epoch=2))
    assert [d[0] for d in w.done()] == ["0/1", "0/1"]
    assert w.last(Do).intent.epoch == 2


def test_a_verification_that_cannot_look_is_inconclusive_and_held():
    w = World()
    w.to_first_effect()
    w.all_steps_done()
    for second in range(72, 140, 4):
        w.look(second, Status.UNKNOWN, 0, error="no leader")
    assert w.run.state is RunState.HELD
    assert "inconclusive" in w.run.reason


def test_a_verification_that_fails_undoes():
    w = World()
    w.to_first_effect()
    w.all_steps_done()
    for second in range(72, 140, 4):
        w.view(second)
        w.look(second, Status.CRITICAL, 300)
    assert w.done()[-1][0] == "0/undo1"


def test_one_of_two_reasons_is_lifted_and_it_stays_paused():
    w = World()
    for who, why in (("ann", "deploy"), ("bob", "drill")):
        w.feed(Commanded(at=moment(0), command="pause", who=who, args={"reason": why}))
    (refused,) = w.feed(Commanded(at=moment(0), command="resume", who="ann", args={"reason": "x"}, key="k"))
    assert not refused.ok
    w.feed(Commanded(at=moment(1), command="resume", who="ann", args={"reason": "deploy"}))
    w.fail(2)
    w.wait(3, 100)
    assert w.done() == []
    assert not w.state.runs
    assert dict(w.told(w.incident.id)[-1].facts)["Paused"] == "pause by bob: drill"
    w.feed(Commanded(at=moment(101), command="resume", who="ann", args={"reason": "drill"}))
    w.confirm(102)
    assert [d[0] for d in w.done()] == ["0/1"]
    assert "Paused" not in dict(w.told(w.incident.id)[-1].facts)


def test_pause_holds_new_runs_and_resume_lets_them_go():
    w = World()
    w.feed(Commanded(at=moment(0), command="pause", who="ann", args={"reason": "deploy"}))
    w.fail(1)
    w.wait(3, 120)
    assert w.done() == []
    assert w.told("pause")[0].text == "pause by ann: deploy"
    w.feed(Commanded(at=moment(121), command="resume", who="ann"))
    w.wait(122, 127)
    w.confirm(128)
    assert len(w.done()) == 1


def test_stop_parks_a_run_between_its_steps():
    w = World()
    w.to_first_effect()
    w.feed(Commanded(at=moment(64), command="stop", who="ann", args={"reason": "no"}))
    w.result(65, Outcome.DONE)
    w.wait(66, 300)
    assert [d[0] for d in w.done()] == ["0/1"]


def test_an_untrusted_view_holds_everything():
    w = World()
    w.fail(1)
    for second in range(3, 120, 5):
        w.view(second, trusted=False)
    assert w.done() == []
    assert len(w.told("view")) == 1


def test_half_the_fleet_at_once_is_one_message_and_no_action():
    w = World()
    seen = tuple(
        Observation(target=instance(s, i), check=f"{s}-{i}", status=Status.CRITICAL, at=moment(1), index=5)
        for s in "abc"
        for i in range(3)
    )
    w.view(0, instances=9)
    for second in (1, 2):
        w.feed(Observed(at=moment(second), observations=seen))
    for second in range(3, 250, 5):
        w.view(second, instances=9)
    assert w.done() == []
    assert [m.key for m in w.told()] == ["storm"]


def test_maintenance_by_a_person_opens_no_incident():
    w = World()
    w.see(1, instance("c"), Status.MAINTENANCE, "_maint")
    w.see(2, instance("c"), Status.CRITICAL)
    w.wait(3, 120)
    assert w.state.book.incidents == {}
    assert w.told() == []


def test_a_failing_instance_that_deregisters_keeps_its_incident():
    w = World()
    w.fail(1)
    w.see(5, instance("c"), Status.ABSENT)
    w.wait(6, 120)
    assert w.incident.state is IncidentState.OPEN
    member = next(m for m in w.incident.members if m.target == instance("c"))
    assert member.state is State.VANISHED


def test_a_restarted_engine_decides_the_same():
    w = World()
    w.to_first_effect()
    again = EngineState()
    for event in w.events:
        again, _ = step(again, msgspec.json.decode(msgspec.json.encode(event), type=type(event)))
    assert snapshot(again) == snapshot(w.state)


def test_a_sidecar_that_fails_before_anybody_described_it_is_not_a_service_of_its_own():
    w = World()
    sidecar = Target(dc="dc1", service="d-sidecar-proxy", node="n0", instance="d-sidecar-proxy-0")
    w.see(1, sidecar, Status.CRITICAL)
    w.see(1, instance("d"), Status.CRITICAL)
    assert w.state.book.incidents == {}
    proxy = service("d-sidecar-proxy", count=1, kind="connect-proxy", destination="d")
    fact = msgspec.structs.replace(
        proxy,
        instances=(msgspec.structs.replace(proxy.instances[0], target=sidecar, destination_instance="d-0"),),
    )
    w.feed(Learned(at=moment(1.5), facts=(fact, service("d", count=1), NodeFact(target=sidecar.of_node(), at=T0))))
    w.wait(2, 10)
    assert [i.root.name for i in w.state.book.incidents.values()] == ["d"]


def test_a_playbook_that_does_not_help_asks_a_person_until_it_is_rearmed():
    w = World()
    w.state.records["drain-and-restart"] = ["failed", "inconclusive"]
    w.to_first_effect()
    w.result(65, Outcome.FAILED, "no rights")
    assert w.state.records["drain-and-restart"] == ["failed", "inconclusive", "failed"]
    w.wait(70, 400)
    assert {v.guard: v.decision for v in w.plan.steps[0].verdicts}["error_budget"] is Decision.ASK
    w.feed(Commanded(at=moment(401), command="rearm", who="ann", args={"playbook": "drain-and-restart"}))
    w.view(402)
    assert {v.guard: v.decision for v in w.plan.steps[0].verdicts}["error_budget"] is Decision.ALLOW


def run_of_c():
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE, index=110)
    w.confirm(66, Status.MAINTENANCE, index=111)
    return w.run


def not_now(intent_id):
    return Result(
        intent_id=intent_id, outcome=Outcome.RETRY, detail="busy", started_at=moment(0), ended_at=moment(0)
    )


def test_runs_that_fail_together_do_not_come_back_together():
    waits = set()
    for number in range(8):
        run = msgspec.structs.replace(run_of_c(), id=f"run-{number}")
        later, _ = runs.resulted(run, not_now(run.intent.id), None, moment(0))
        waits.add((later.retry_at - moment(0)).total_seconds())
    assert len(waits) == 8
    assert all(10.0 <= wait <= 12.0 for wait in waits)


def test_a_run_whose_confirm_reads_are_denied_for_long_goes_to_a_person():
    """Between two reads the guards have nothing against it: what counts is since when nothing more was done."""
    w = World(policy=Policy(mode=Mode.AUTO, guard=GuardPolicy(graph_max_age_s=1e6)))
    w.to_first_effect()
    w.result(66, Outcome.DONE, index=166)
    second = 67.0
    while w.run.state is not RunState.HELD and second < 1300:
        if w.run.state is RunState.CONFIRMING:
            w.confirm(second, Status.MAINTENANCE, healthy=1, index=170)
        second += 20
        w.view(second)
    assert w.run.state is RunState.HELD
    assert w.run.reason.startswith("min_healthy: ")
    assert 66 + 900 <= second <= 66 + 900 + 60
    assert len(w.done()) == 1
