"""Buttons: what is offered, and that a press is one decision by somebody who may."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from consulguard.engine import offers
from consulguard.engine.step import restore, snapshot
from consulguard.events import Commanded, Reply, Started
from consulguard.model import Caller, IncidentState, Offer, PlannedEffect, QuestionState, RunState, Status

from tests.core.engine.test_approvals import asking, pending, question
from tests.core.engine.world import World, instance, moment

READS = ["explain", "timeline", "topology"]


def slack(user: str, *groups: str) -> dict[str, Any]:
    caller: dict[str, Any] = msgspec.to_builtins(Caller(via="slack", user=user, team="T1", groups=groups))
    return caller


def press(w: World, second: float, offer: Offer | str, user: str = "U1", **args: Any) -> Reply:
    given = {"offer": offer if isinstance(offer, str) else offer.id, "caller": slack(user, "oncall"), **args}
    event = Commanded(
        at=moment(second), command="click", who=f"name of {user}", args=given, key=f"k{second}{user}"
    )
    (reply,) = [e for e in w.feed(event) if isinstance(e, Reply)]
    return reply


def offered(w: World) -> dict[str, Offer]:
    return {offer.verb: offer for offer in w.told(w.incident.id)[-1].offers}


def told() -> World:
    w = World(playbook="")
    w.fail(1)
    w.wait(3, 10)
    return w


def test_what_is_offered_follows_the_incident():
    w = told()
    assert list(offered(w)) == ["silence", "ack", *READS]
    assert press(w, 11, offered(w)["ack"]).ok
    assert list(offered(w)) == ["silence", *READS]
    assert press(w, 12, offered(w)["silence"], for_s=60).ok
    assert list(offered(w)) == READS
    w.see(13, instance("c"), Status.PASSING)
    w.wait(14, 120)
    assert w.incident.state is IncidentState.RESOLVED
    assert list(offered(w)) == READS


def test_an_edited_message_keeps_the_buttons_that_mean_the_same():
    w = told()
    before = offered(w)
    for number in (1, 2):
        w.fail(20, instance("c", number))
    w.wait(22, 40)
    assert len(w.told(w.incident.id)) > 1
    assert offered(w) == before
    ids = [o.id for o in before.values()]
    assert len(set(ids)) == len(ids)
    assert all(len(i) == 32 and int(i, 16) >= 0 for i in ids)


def test_ids_depend_on_what_nobody_outside_knows():
    lives = []
    for life in ("one", "two"):
        w = World(playbook="")
        w.feed(Started(at=moment(0), life=life, version="1"))
        w.view(0.5)
        w.fail(1)
        w.wait(3, 10)
        lives.append({o.id for o in offered(w).values()})
    assert lives[0].isdisjoint(lives[1])


def test_nothing_is_told_because_of_the_buttons_alone():
    w = told()
    so_far = len(w.told())
    w.wait(11, 400)
    assert len(w.told()) == so_far


def test_the_dialog_says_what_will_be_done_and_to_how_many():
    w = asking()
    confirm = offered(w)["approve"].confirm
    assert confirm.startswith("drain-and-restart: 3 steps on 1 target.")
    for step in ("drain: consul.maintenance on c-0", "restart: exec.run on c-0", "rejoin: consul.maintenance"):
        assert step in confirm
    assert len(confirm) <= 300


def test_a_long_plan_is_counted_not_hidden():
    asked = question(asking())
    many = tuple(
        PlannedEffect(step=f"step-{n}", action="exec.run", target=instance("c", n), params="{}") for n in range(40)
    )
    told = offers.confirm(msgspec.structs.replace(asked, effects=many))
    assert told.startswith("drain-and-restart: 40 steps on 40 targets.")
    assert "more steps: see the message" in told.splitlines()[-1]
    assert len(told) <= 300


def test_a_hundred_parallel_presses_are_one_decision():
    w = asking()
    approve, incident = offered(w)["approve"], w.incident.id
    replies = [press(w, 64, approve, f"U{n}") for n in range(100)]
    assert [r.ok for r in replies] == [True] + [False] * 99
    assert len(w.state.runs) == 1
    assert {r.incident for r in replies} == {incident}
    late = "name of U0 was first: approved: drain-and-restart on c-0"
    assert {r.text for r in replies[1:]} == {late}
    w.confirm(65)
    assert len(w.done()) == 1


def test_the_same_person_twice_is_one_vote_whatever_the_name():
    w = asking(count=2)
    approve = offered(w)["approve"]
    first = press(w, 64, approve, "U1")
    assert (first.ok, "1 more" in first.text) == (True, True)
    assert "name of U1 agreed" in dict(w.told(w.incident.id)[-1].facts)["Approval"]
    given = {"offer": approve.id, "caller": slack("U1", "oncall")}
    (again,) = [
        e
        for e in w.feed(Commanded(at=moment(65), command="click", who="other name", args=given, key="k"))
        if isinstance(e, Reply)
    ]
    assert (again.ok, "another person" in again.text) == (False, True)
    assert press(w, 66, approve, "U2").text.startswith("approved: ")
    assert w.run.state is RunState.CONFIRMING
    assert "was first" in press(w, 67, approve, "U3").text


def test_a_destructive_playbook_needs_two_buttons_pressed():
    w = asking(**{"on_failure: undo": "on_failure: undo\ndestructive: true"})
    assert "1 more" in press(w, 64, offered(w)["approve"], "U1").text
    assert w.state.runs == {}
    assert press(w, 65, offered(w)["approve"], "U2").ok


def test_who_ordered_it_does_not_approve_it():
    w = asking()
    args = {"playbook": "drain-and-restart", "service": "c", "caller": slack("U1")}
    w.feed(Commanded(at=moment(64), command="run", who="name of U1", args=args, key="r"))
    w.wait(65, 70)
    expired = question(w)
    if expired.asked_by == "":
        w.wait(75, 1000)  # the first question was ours: the next one is hers
    assert question(w).asked_by == "name of U1"
    refused = press(w, 1001, offered(w)["approve"], "U1")
    assert (refused.ok, "asked for it" in refused.text) == (False, True)
    assert press(w, 1002, offered(w)["approve"], "U2").ok


def test_who_is_no_approver_does_not_burn_the_button():
    w = asking()
    approve = offered(w)["approve"]
    given = {"caller": slack("U66"), "users": ["ann"], "slack_users": ["ann"], "slack_usergroups": ["oncall"]}
    refused = press(w, 64, approve, "U66", **given)
    assert (refused.ok, "not among the approvers" in refused.text) == (False, True), "only the door's word counts"
    assert press(w, 65, approve, "U1").ok


@pytest.mark.parametrize(
    ("caller", "may"),
    [
        (Caller(via="cli", user="ann"), True),
        (Caller(via="slack", user="ann"), False),
        (Caller(via="cli", user="oncall"), False),
        (Caller(via="slack", user="U9", groups=("oncall",)), True),
        (Caller(via="http", user="ann"), False),
        (Caller(via="cli", user=""), False),
    ],
)
def test_an_account_counts_only_through_its_own_kind_of_door(caller: Caller, may: bool):
    w = asking()
    args = {"id": question(w).id, "caller": msgspec.to_builtins(caller)}
    said = Commanded(at=moment(64), command="approve", who="x", args=args, key="k")
    (reply,) = [e for e in w.feed(said) if isinstance(e, Reply)]
    assert reply.ok is may


def test_denied_with_a_reason_that_everybody_reads():
    w = asking()
    both = offered(w)
    assert press(w, 64, both["deny"], reason="not on a Friday").ok
    (decided,) = w.state.questions.values()
    assert (decided.state, decided.reason) == (QuestionState.DENIED, "denied by name of U1: not on a Friday")
    assert "denied by name of U1" in press(w, 65, both["approve"], "U2").text
    assert pending(w) == []


def test_after_its_time_a_button_does_nothing():
    w = asking()
    approve = offered(w)["approve"]
    w.wait(70, 1000)
    assert "already expired" in press(w, 1001, approve).text
    assert offered(w)["approve"].id != approve.id
    assert w.done() == []


def test_a_plan_that_changed_under_the_button_is_not_what_was_agreed_to():
    w = asking()
    approve = offered(w)["approve"]
    for number in (1, 2):
        w.fail(65, instance("c", number))
    w.wait(67, 75)
    reply = press(w, 76, approve)
    assert not reply.ok
    assert w.done() == []


@pytest.mark.parametrize("forged", ["", "0" * 32, "x", "../..", "é" * 40])
def test_what_nobody_offered_changes_nothing(forged: str):
    w = asking()
    before = restore(snapshot(w.state))
    reply = press(w, 64, forged)
    assert (reply.ok, "not known" in reply.text) == (False, True)
    assert w.state.questions == before.questions
    assert w.state.offers == before.offers


def test_a_button_of_another_life_is_still_good():
    w = asking()
    approve = offered(w)["approve"]
    w.state = restore(snapshot(w.state))
    w.feed(Started(at=moment(64), life="next", version="1"))
    w.view(64.5)
    w.wait(65, 70)
    assert press(w, 71, approve).ok


def test_a_button_is_what_it_was_offered_as():
    """A door asks for the rights of the verb it was told; that must be the verb that is obeyed."""
    w = asking()
    reply = press(w, 64, offered(w)["approve"], verb="explain")
    assert (reply.ok, reply.verb) == (False, "approve")
    assert len(pending(w)) == 1
    assert press(w, 65, offered(w)["approve"], verb="approve").ok


def test_reading_uses_nothing_up():
    w = told()
    for verb in READS:
        for user in ("U1", "U2", "U1"):
            reply = press(w, 11, offered(w)[verb], user)
            assert (reply.ok, reply.verb, reply.incident) == (True, verb, w.incident.id)


def test_silenced_from_its_message():
    w = told()
    silence = offered(w)["silence"]
    assert silence.confirm == 'Silence service="c", datacenter="dc1"'
    assert press(w, 11, silence, for_s=1800, reason="deploying", matchers=['service="a"'], incident="x").ok
    (made,) = w.state.silences.values()
    assert [m.value for m in made.matchers] == ["c", "dc1"]
    assert ((made.ends_at - made.starts_at).total_seconds(), made.comment) == (1800, "deploying")
    assert w.told(w.incident.id)[-1].severity == "silenced"
    assert "was first" in press(w, 12, silence, "U2").text
    assert len(w.state.silences) == 1


def test_a_silence_for_no_sensible_time_leaves_the_button():
    w = told()
    silence = offered(w)["silence"]
    assert not press(w, 11, silence, for_s=-5).ok
    assert press(w, 12, silence).ok


def test_what_is_over_and_forgotten_takes_its_buttons_along():
    w = told()
    press(w, 11, offered(w)["ack"])
    w.see(20, instance("c"), Status.PASSING)
    w.wait(21, 120)
    explain = offered(w)["explain"]
    w.wait(125, 2000)
    w.fail(2001, instance("a"))
    w.wait(2005, 2020)
    assert {s.incident for s in w.state.offers.values()} == {i.id for i in w.state.book.incidents.values()}
    assert "not known" in press(w, 2021, explain).text


def test_buttons_of_one_message_stay_few():
    w = told()
    for turn in range(60):
        start = 20 + turn * 20
        assert press(w, start, offered(w)["silence"], for_s=5).ok
        w.wait(start + 6, start + 12)
    assert len(w.state.offers) <= offers.KEPT + 5
    assert "silence" in offered(w)
