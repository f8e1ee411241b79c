"""People are asked about exactly one plan, once, for a while; the guards have the last word."""

import msgspec
import pytest
from consulguard.engine.step import restore, snapshot
from consulguard.events import Commanded, Configured, Do, LeaseChanged, Reply
from consulguard.model import Mode, Outcome, QuestionState, RunState, Status
from consulguard.policy import Policy

from tests.core.engine.world import ACTIONS, DRAIN_AND_RESTART, World, instance, moment

RULE = (
    "approval: {approvers: {users: [ann, bob, cem], slack_usergroups: [oncall]}, count: COUNT, ttl: 15m}\nsteps:"
)


def asking(count: int = 1, **more: str) -> World:
    """c fails, and a person is to agree."""
    text = DRAIN_AND_RESTART.replace("mode: auto", "mode: approve")
    text = text.replace("steps:", RULE.replace("COUNT", str(count)), 1)
    for old, new in more.items():
        text = text.replace(old, new)
    w = World(text, mode=Mode.AUTO)
    w.fail(1)
    w.wait(3, 63)
    return w


def pending(w: World):
    return [q for q in w.state.questions.values() if q.pending]


def question(w: World):
    (found,) = pending(w)
    return found


def say(w: World, second: float, command: str, who: str = "ann", **args) -> Reply:
    """One word of a person, and the answer to it."""
    given = {"id": args.pop("id", None) or question(w).id, "users": [who], **args}
    event = Commanded(at=moment(second), command=command, who=who, args=given, key="k")
    (reply,) = [e for e in w.feed(event) if isinstance(e, Reply)]
    return reply


def test_the_question_shows_exactly_what_is_then_done():
    w = asking()
    asked = question(w)
    assert [(e.step, e.action, e.target) for e in asked.effects] == [
        ("drain", "consul.maintenance", instance("c")),
        ("restart", "exec.run", instance("c")),
        ("rejoin", "consul.maintenance", instance("c")),
    ]
    assert len(asked.id) == 32
    assert w.done() == []
    assert say(w, 64, "approve").ok
    w.confirm(65)
    (sent,) = [e.intent for e in w.effects if isinstance(e, Do)]
    assert msgspec.json.decode(asked.effects[0].params) == sent.params
    assert w.state.questions[asked.id].state is QuestionState.APPROVED
    assert pending(w) == [], "a run that people agreed to is not asked about again"


def test_an_approved_run_goes_the_whole_way():
    w = asking()
    say(w, 64, "approve")
    w.confirm(65)
    for second in (66, 68, 70):
        w.result(second, Outcome.DONE, index=100 + second)
        if second < 70:
            w.confirm(second + 1, Status.MAINTENANCE, index=101 + second)
    assert w.run.state is RunState.VERIFYING


def test_nobody_is_asked_while_a_guard_says_wait():
    w = asking()
    w.view(64, trusted=False)
    (still,) = pending(w)
    reply = say(w, 65, "approve")
    assert (reply.ok, reply.blocked) == (False, True)
    assert "view" in reply.text
    assert w.state.questions[still.id].votes == (), "a word that comes to nothing is not kept"
    w.view(70)
    assert say(w, 71, "approve").ok


def test_who_is_not_named_may_neither_approve_nor_deny():
    w = asking()
    for command in ("approve", "deny"):
        reply = say(w, 64, command, "eve")
        assert not reply.ok
        assert "not among the approvers" in reply.text
    assert say(w, 65, "approve", "U42", slack_usergroups=["oncall"]).ok


def test_without_approvers_nobody_can_approve():
    w = asking(**{"{users: [ann, bob, cem], slack_usergroups: [oncall]}": "{}"})
    assert not say(w, 64, "approve").ok


def test_two_different_people():
    w = asking(count=2)
    assert "1 more" in say(w, 64, "approve", "ann").text
    twice = say(w, 65, "approve", "ann")
    assert not twice.ok
    assert "another person" in twice.text
    assert w.state.runs == {}
    assert say(w, 66, "approve", "bob").text.startswith("approved: ")
    assert w.run.state is RunState.CONFIRMING


def test_a_destructive_playbook_needs_two():
    w = asking(**{"on_failure: undo": "on_failure: undo\ndestructive: true"})
    assert question(w).needed == 2


def test_a_denied_plan_is_not_proposed_again():
    w = asking()
    asked = question(w).id
    assert say(w, 64, "deny").ok
    w.wait(65, 300)
    assert pending(w) == []
    assert "already denied" in say(w, 301, "approve", id=asked).text
    assert w.done() == []


def test_a_question_is_good_for_one_decision():
    w = asking()
    asked = question(w).id
    assert say(w, 64, "approve").ok
    replies = [say(w, 64, "approve", who, id=asked) for who in ("ann", "bob", "cem")]
    assert not any(r.ok for r in replies)
    assert len(w.state.runs) == 1


def test_an_unanswered_question_expires_and_is_asked_anew():
    w = asking()
    first = question(w)
    w.wait(70, 990)
    second = question(w)
    assert second.id != first.id
    assert w.state.questions[first.id].state is QuestionState.EXPIRED
    assert "already expired" in say(w, 991, "approve", id=first.id).text


def test_at_the_very_end_of_its_time_it_is_over():
    w = asking()
    asked = question(w)
    late = (asked.expires_at - moment(0)).total_seconds()
    assert not say(w, late, "approve", id=asked.id).ok
    assert w.done() == []


def test_another_plan_makes_it_another_question():
    w = asking()
    first = question(w)
    changed = msgspec.structs.replace(w.state.playbooks[0], digest="f" * 64)
    w.feed(msgspec.structs.replace(w.events[0], at=moment(64), playbooks=(changed,)))
    w.wait(65, 66)
    assert w.state.questions[first.id].state is QuestionState.VOID
    assert question(w).plan != first.plan


def test_what_recovers_is_no_longer_asked_about():
    w = asking()
    first = question(w)
    w.see(64, instance("c"), Status.PASSING)
    assert "already void" in say(w, 65, "approve", id=first.id).text
    w.wait(66, 140)
    assert pending(w) == []
    assert w.done() == []


def test_an_agreement_that_is_not_used_in_time_is_none():
    w = asking()
    say(w, 64, "approve")
    w.confirm(65, Status.PASSING)
    w.wait(66, 960)
    assert w.done() == []
    assert len([q for q in w.state.questions.values() if q.state is QuestionState.APPROVED]) == 1


@pytest.mark.parametrize("given", ["", "abc", "0" * 32])
def test_an_id_nobody_gave_out(given):
    w = asking()
    reply = say(w, 64, "approve", id=given or "x")
    assert not reply.ok
    assert pending(w)


def test_the_beginning_of_the_id_is_enough():
    w = asking()
    assert say(w, 64, "approve", id=question(w).id[:8]).ok


def test_questions_survive_a_restart():
    w = asking()
    before = question(w)
    w.state = restore(snapshot(w.state))
    assert question(w) == before
    assert say(w, 64, "approve").ok


FIRST_OUTPUT = "with: {argv: [/bin/restart, c], idempotent: false}"
WITH_OUTPUT = "with: {argv: [/bin/restart, '${target.node}'], idempotent: false}"


def test_what_differs_from_what_people_saw_is_asked_about_again():
    w = asking(**{FIRST_OUTPUT: WITH_OUTPUT})
    say(w, 64, "approve")
    w.confirm(65)
    w.result(66, Outcome.DONE, index=110)
    agreed = w.run.agreed
    assert len(agreed) == 3
    (run_id,) = w.state.runs
    other = msgspec.structs.replace(w.run, agreed=(agreed[0], agreed[2]))
    w.state.runs[run_id] = other
    w.confirm(67, Status.MAINTENANCE, index=111)
    w.view(75)
    assert w.run.state is RunState.AWAITING_APPROVAL
    assert [e.step for e in question(w).effects] == ["restart", "rejoin"]
    assert say(w, 76, "approve", "bob").ok
    w.confirm(77, Status.MAINTENANCE, index=112)
    assert [d[1] for d in w.done()] == ["consul.maintenance", "exec.run"]


def test_old_questions_are_forgotten_the_oldest_first():
    w = asking()
    one = question(w)
    for n in range(150):
        decided = {"state": QuestionState.VOID, "decided_at": moment(n), "id": f"{n:032}"}
        w.state.questions[f"{n:032}"] = msgspec.structs.replace(one, **decided)
    w.view(70)
    assert len(w.state.questions) == 151


def test_what_was_asked_under_one_leader_is_done_in_the_epoch_of_the_next():
    w = asking()
    w.feed(LeaseChanged(at=moment(64), held=False, epoch=1))
    w.feed(LeaseChanged(at=moment(65), held=True, epoch=4))
    w.view(66)
    assert say(w, 67, "approve").ok
    w.confirm(68)
    assert w.last(Do).intent.epoch == 4, "the gate before the effect refuses any other"


def test_a_run_that_started_by_itself_is_not_sent_again_by_an_agreement():
    """The guards need nobody any more: whoever answers all the same changes nothing."""
    w = World(DRAIN_AND_RESTART.replace("steps:", RULE.replace("COUNT", "1"), 1), mode=Mode.APPROVE)
    w.fail(1)
    w.wait(3, 63)
    asked = question(w)
    policy = Policy(mode=Mode.AUTO)
    w.feed(Configured(at=moment(64), policy=policy, playbooks=w.state.playbooks, actions=ACTIONS))
    w.confirm(65)
    assert len(w.done()) == 1
    assert w.state.questions[asked.id].state is QuestionState.VOID
    assert not say(w, 66, "approve", id=asked.id).ok
    assert w.run.state is RunState.EXECUTING
    w.confirm(67)
    assert len(w.done()) == 1
