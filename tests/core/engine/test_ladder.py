"""What did not help in its time is followed by the next rung, once."""

from consulguard.engine.step import restore, snapshot
from consulguard.events import Configured, Tell
from consulguard.model import Decision, Mode, Outcome, RunState, Status
from consulguard.policy import GuardPolicy, Policy

from tests.core.engine.world import ACTIONS, DRAIN_AND_RESTART, World, instance, moment, parse

FIRST = DRAIN_AND_RESTART + "escalate:\n  - {after: 200s, playbook: second}\n  - {after: 1200s, notify: oncall}\n"
SECOND = DRAIN_AND_RESTART.replace("drain-and-restart", "second").replace("mode: auto", "mode: auto\npriority: -1")
NO_REST = Policy(mode=Mode.AUTO, guard=GuardPolicy(service_cooldown_s=10.0, cooldown_s=10.0, cooldown_max_s=10.0))


def world(second: str = SECOND) -> World:
    w = World("")
    books = (parse(FIRST, "first.yaml"), parse(second, "second.yaml"))
    w.feed(Configured(at=moment(0), policy=NO_REST, playbooks=books, actions=ACTIONS))
    return w


def failed_run(w: World) -> None:
    """The first playbook runs, its second step fails, and what it did is undone."""
    w.to_first_effect()
    w.result(65, Outcome.FAILED, "no rights")
    assert w.run.state is RunState.FAILED


def calls(w: World) -> list:
    return [m for m in w.told() if "is needed" in m.title]


def chosen(w: World) -> str:
    return w.plan.playbook.id


def test_the_next_playbook_takes_over_when_the_first_has_not_helped():
    w = world()
    failed_run(w)
    w.wait(70, 195)
    assert chosen(w) == "drain-and-restart"
    w.wait(200, 215)
    assert chosen(w) == "second"
    assert any("escalated to second" in c.because for c in w.plan.considered)
    w.confirm(216)
    assert w.state.runs[next(r for r, run in w.state.runs.items() if run.playbook.id == "second")].effects == 1


def test_a_run_at_work_is_not_interrupted():
    w = world()
    w.to_first_effect()
    w.wait(70, 300)
    assert chosen(w) == "drain-and-restart"
    w.result(301, Outcome.FAILED, "no rights")
    w.wait(302, 310)
    assert chosen(w) == "second"


def test_people_are_called_once_in_a_message_of_its_own():
    w = world()
    failed_run(w)
    w.wait(70, 1195)
    assert calls(w) == []
    w.wait(1201, 2000)
    (call,) = calls(w)
    assert call.key != w.incident.id
    assert ("Notify", "oncall") in call.facts


def test_what_was_left_to_people_is_not_touched_for_an_hour():
    w = world("name: second\nmode: observe\nmatch: {matchers: ['service=\"none\"']}\nsteps: []\n")
    failed_run(w)
    w.wait(70, 1300)
    assert {a.outcome for a in w.state.attempts} == {"escalated"}


def test_what_recovers_in_time_escalates_nothing():
    w = world()
    failed_run(w)
    w.see(100, instance("c"), Status.PASSING)
    w.wait(105, 2000)
    assert calls(w) == []
    assert w.state.ladders == {}


def test_a_playbook_that_waits_for_an_answer_escalates_too():
    w = World("")
    text = FIRST.replace("mode: auto", "mode: approve", 1)
    books = (parse(text, "first.yaml"), parse(SECOND, "second.yaml"))
    w.feed(Configured(at=moment(0), policy=NO_REST, playbooks=books, actions=ACTIONS))
    w.fail(1)
    w.wait(3, 195)
    assert w.plan.steps[0].verdict.decision is Decision.ASK
    w.wait(202, 205)
    assert chosen(w) == "second"
    assert not [q for q in w.state.questions.values() if q.pending], "the first is no longer asked about"


def test_a_restart_climbs_no_rung_twice():
    w = world()
    failed_run(w)
    w.wait(70, 1300)
    w.state = restore(snapshot(w.state))
    w.wait(1305, 2000)
    assert len([e for e in w.effects if isinstance(e, Tell) and "is needed" in e.message.title]) == 1


def test_a_playbook_that_is_gone_cannot_be_put_in_charge():
    w = World("")
    w.feed(Configured(at=moment(0), policy=NO_REST, playbooks=(parse(FIRST, "first.yaml"),), actions=ACTIONS))
    failed_run(w)
    w.wait(70, 1300)
    assert chosen(w) == "drain-and-restart"
    assert len(calls(w)) == 1
