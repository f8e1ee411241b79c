"""A message goes to those its route names; who was told hears the end, and what lasts is told again."""

from datetime import timedelta

import msgspec
from consulguard.engine.step import restore, snapshot
from consulguard.events import Commanded, Configured, Learned, Tell
from consulguard.model import Mode, Status, Target
from consulguard.plan.matcher import parse_matcher
from consulguard.policy import Opening, Policy, Route, Window
from consulguard.routing import LABELS

from tests.core.engine.world import T0, World, instance, moment, service

NIGHT = Window(open=(Opening(days=tuple(range(7)), start=0, end=60),))  # from T0 on for an hour


def below(receiver, *fits, **fields):
    return Route(receiver=receiver, matchers=tuple(parse_matcher(f, LABELS) for f in fits), **fields)


def world(*routes, **fields):
    route = Route(receiver="slack", routes=routes, **fields)
    w = World("", policy=Policy(mode=Mode.OBSERVE, route=route))
    learn(w, 0, {"team": "payments", "tier": "1"})
    return w


def learn(w, second, meta):
    """The meta of every instance of c."""
    fact = service("c")
    instances = tuple(msgspec.structs.replace(i, meta=meta) for i in fact.instances)
    w.feed(Learned(at=moment(second), facts=(msgspec.structs.replace(fact, instances=instances),)))


def told(effects, key="inc-"):
    return [e.message for e in effects if isinstance(e, Tell) and e.message.key.startswith(key)]


def run_until(w, end, start=0, step=5):
    """Time passes, and Consul goes on saying what it said."""
    return [e for second in range(start, end, step) for e in w.view(second)]


def test_labels_decide_who_is_told():
    w = world(
        below("payments", 'team="payments"', 'meta.tier="1"', 'scope="instance"', 'kind="incident"', more=True),
        below("west", 'datacenter="dc1"', 'severity="critical"', 'service="c"'),
        below("others", 'datacenter="dc2"'),
    )
    w.fail(1)
    (message, *_) = told(run_until(w, 20))
    assert message.channels == ("payments", "west")
    paused = w.feed(Commanded(at=moment(21), command="pause", who="ann", args={"reason": "r"}))
    assert [m.channels for m in told(paused, "pause")] == [("slack",)]


def test_without_a_route_everybody_is_told():
    w = World("", policy=Policy(mode=Mode.OBSERVE))
    w.fail(1)
    (message, *_) = told(run_until(w, 20))
    assert (message.channels, message.holds, w.state.addressed) == ((), {}, {})


def test_who_was_told_hears_how_it_ends():
    w = world(below("payments", 'team="payments"'))
    w.fail(1)
    run_until(w, 20)
    learn(w, 20, {"team": "other"})  # it changes hands
    w.see(21, instance("c"), Status.PASSING)
    last = told(run_until(w, 200, start=22))[-1]
    assert last.severity == "resolved"
    assert last.channels == ("payments", "slack")  # the new team's channel came in while it was open


def test_what_lasts_is_told_again_until_it_is_over():
    w = world(below("payments", 'team="payments"', repeat_s=600))
    w.fail(1)
    first = told(run_until(w, 20))[-1]
    later = told(run_until(w, 1500, start=20))
    lines = [m for m in later if any("Reminder" in line for line in m.thread)]
    assert [m.thread for m in lines] == [("Reminder: still so after 10m",), ("Reminder: still so after 20m",)]
    assert {m.version for m in lines} == {first.version}
    assert {m.channels for m in lines} == {("payments",)}
    w.see(1501, instance("c"), Status.PASSING)
    after = told(run_until(w, 3000, start=1502))
    assert [m for m in after if m.thread] == []


def test_a_receiver_that_forgets_is_told_again_without_a_word():
    w = world(below("alertmanager:am", 'team="payments"', refresh_s=60))
    w.fail(1)
    run_until(w, 20)
    again = told(run_until(w, 200, start=20))
    assert len(again) == 3
    assert {m.thread for m in again} == {()}
    assert again[0].at < again[1].at


def test_a_mute_holds_what_is_said_until_it_is_over():
    w = world(below("payments", 'team="payments"', mute=(NIGHT,), repeat_s=600))
    w.fail(1)
    messages = told(run_until(w, 3500))
    assert messages
    assert {m.holds["payments"] for m in messages} == {T0 + timedelta(hours=1)}  # and no reminder meanwhile
    reminded = [m for m in told(run_until(w, 4300, start=3500)) if m.thread]
    assert [m.at for m in reminded] == [T0 + timedelta(hours=1, minutes=10)]


def test_what_was_addressed_survives_a_snapshot_and_a_new_configuration():
    w = world(below("payments", 'team="payments"', repeat_s=600))
    w.fail(1)
    run_until(w, 20)
    w.state = restore(snapshot(w.state))
    assert list(w.state.addressed)
    w.feed(Configured(at=moment(30), policy=Policy(mode=Mode.OBSERVE), playbooks=()))
    assert w.state.addressed == {}
    assert told(run_until(w, 1500, start=31)) == []


def test_another_tree_keeps_those_it_knows():
    w = world(below("payments", 'team="payments"', repeat_s=600, more=True), below("pager", repeat_s=600))
    w.fail(1)
    run_until(w, 20)
    route = Route(receiver="slack", routes=(below("other"), below("payments", 'team="x"', repeat_s=60)))
    w.feed(Configured(at=moment(30), policy=Policy(mode=Mode.OBSERVE, route=route), playbooks=()))
    reminded = [m for m in told(run_until(w, 1300, start=31)) if m.thread]
    assert {m.channels for m in reminded} == {("payments",)}
    assert len(reminded) == 12  # the first at its old time, then on the new terms
    w.see(1301, instance("c"), Status.PASSING)
    assert told(run_until(w, 1500, start=1302))[-1].channels[0] == "payments"


def test_a_node_has_its_own_labels():
    w = world(below("hosts", 'scope="node"', 'node="n0"'))
    node = Target(dc="dc1", node="n0")
    for second in (1, 2):
        w.see(second, node, Status.CRITICAL, check="serfHealth")
        for name in "abc":
            w.see(second, instance(name), Status.CRITICAL)
    messages = told(run_until(w, 30))
    assert {m.channels for m in messages if m.incident is not None and m.incident.root.kind == "node"} == {
        ("hosts",)
    }
