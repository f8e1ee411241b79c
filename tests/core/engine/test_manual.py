"""A person puts a playbook in charge; the guards have the last word all the same."""

from consulguard.events import Commanded, Configured, Reply
from consulguard.model import Mode, RunState, Status
from consulguard.policy import Policy

from tests.core.engine.world import ACTIONS, DRAIN_AND_RESTART, World, instance, moment, parse

OTHER = DRAIN_AND_RESTART.replace("drain-and-restart", "by-hand").replace("mode: auto", "mode: MODE\npriority: -5")
APPROVAL = "approval: {approvers: {users: [ann, bob]}}\n"


def world(mode: str = "auto", usual: str = "approve") -> World:
    w = World("")
    books = (
        parse(DRAIN_AND_RESTART.replace("mode: auto", f"mode: {usual}"), "a.yaml"),
        parse(OTHER.replace("MODE", mode) + APPROVAL, "b.yaml"),
    )
    w.feed(Configured(at=moment(0), policy=Policy(mode=Mode.AUTO), playbooks=books, actions=ACTIONS))
    return w


def order(w: World, second: float, playbook: str = "by-hand", service: str = "c", who: str = "ann") -> Reply:
    args = {"playbook": playbook, "service": service}
    said = Commanded(at=moment(second), command="run", who=who, args=args, key="k")
    (reply,) = [e for e in w.feed(said) if isinstance(e, Reply)]
    return reply


def test_it_starts_at_once_where_the_guards_allow_it():
    w = world()
    w.fail(1)
    w.wait(3, 58)
    assert w.plan.playbook.id == "drain-and-restart"
    early = order(w, 59)
    assert early.blocked
    assert "hold_down" in early.text
    assert w.state.orders == {}, "what is refused is not kept"
    w.view(61)
    assert order(w, 61.5).ok
    assert w.run.playbook.id == "by-hand"
    assert w.run.state is RunState.CONFIRMING


def test_who_asked_may_not_approve_it():
    w = world("approve")
    w.fail(1)
    w.wait(3, 60)
    reply = order(w, 61.5)
    assert reply.ok
    assert "approval" in reply.text
    (question,) = [q for q in w.state.questions.values() if q.pending]
    assert question.asked_by == "ann"
    for who, good in (("ann", False), ("bob", True)):
        args = {"id": question.id, "users": [who]}
        w.feed(Commanded(at=moment(63), command="approve", who=who, args=args, key=who))
        assert bool(w.state.runs) is good


def test_the_order_ends_with_the_incident():
    w = world("approve")
    w.fail(1)
    w.wait(3, 60)
    order(w, 61.5)
    w.see(62, instance("c"), Status.PASSING)
    w.wait(63, 150)
    assert w.state.orders == {}


def test_a_second_order_does_not_take_the_first_one_away():
    w = world()
    w.fail(1)
    w.wait(3, 60)
    assert order(w, 61.5).ok
    again = order(w, 62, playbook="drain-and-restart")
    assert again.blocked
    assert "a run is at work" in again.text
    assert [o.playbook for o in w.state.orders.values()] == ["by-hand"]


def test_what_cannot_be_done_is_said():
    w = world(usual="auto")
    assert "no playbook 'nothing'" in order(w, 1, playbook="nothing").text
    assert "nothing fails in 'c'" in order(w, 1).text
    w.fail(2)
    assert "nothing fails in 'zz'" in order(w, 4, service="zz").text
    w.wait(5, 65)
    assert "a run is at work" in order(w, 66).text
