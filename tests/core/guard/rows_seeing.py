"""What must be known and true before anything is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from consulguard.guard.situation import Stake, Storm
from consulguard.model import Matcher, Role, State, Status, Target
from consulguard.policy import Blackout, Opening, Window

from tests.core.guard.rows import (
    ALLOW,
    ASK,
    DENY,
    N1,
    SVC,
    WAIT,
    Row,
    aimed,
    exec_on,
    looked,
    pause,
    policy,
    silence,
)
from tests.core.guard.scenes import NOW, PAY, SHOP, ago, an_attempt, instance

NIGHT = Window(open=(Opening(days=tuple(range(7)), start=22 * 60, end=4 * 60),))
NOON = Window(zone="Europe/Berlin", open=(Opening(days=(3,), start=13 * 60, end=13 * 60 + 1),))
DARK = Window(closed=(Blackout(since=ago(60), until=NOW + timedelta(hours=18), why="year's end"),))


def windowed(window: Window) -> dict[str, Any]:
    return policy(windows={"night": window}, window="night")


SEEING: tuple[Row, ...] = (
    Row("one pause", {"pauses": (pause(),)}, "pause", WAIT, "ann: release"),
    Row(
        "one of two pauses is over", {"pauses": (pause(until=ago(1)), pause())}, "pause", WAIT, "1 pause in force"
    ),
    Row("all pauses are over", {"pauses": (pause(until=ago(0)),)}, "pause", ALLOW, "nothing is paused"),
    Row("pause in mid-run", {"pauses": (pause(),), "first_effect": False}, "pause", ALLOW, "already begun"),
    Row("stop in mid-run", {"pauses": (pause("stop"),), "first_effect": False}, "pause", WAIT, "stop by ann"),
    Row("a pause does not stop an undo", {"pauses": (pause(),), "undo": True}, "pause", ALLOW),
    Row("a stop stops an undo", {"pauses": (pause("stop"),), "undo": True}, "pause", WAIT),
    Row("a depth nobody knows is a stop", {"pauses": (pause("zzz"),), "undo": True}, "pause", WAIT),
    Row("silenced", {"silence": silence()}, "silence", WAIT, "sil-1 by bea: known, ticket 7"),
    Row("a silence at its very end", {"silence": silence(left_s=0)}, "silence", ALLOW, "no silence fits"),
    Row("a silence at its very beginning", {"silence": silence(since_s=0)}, "silence", WAIT, "silenced until"),
    Row("a silence to come", {"silence": silence(since_s=-1)}, "silence", ALLOW, "no silence fits"),
    Row("silenced in mid-run", {"silence": silence(), "first_effect": False}, "silence", ALLOW, "already begun"),
    Row("a silence does not stop an undo", {"silence": silence(), "undo": True}, "silence", ALLOW),
    Row(
        "escalated, and a person has seen it since",
        {
            "attempts": (an_attempt(3599, instance(2), outcome="escalated"),),
            "incident": {"acked_by": "ann", "acked_at": ago(5)},
        },
        "cooldown",
        ALLOW,
    ),
    Row(
        "escalated after a person had seen it",
        {
            "attempts": (an_attempt(100, instance(2), outcome="escalated"),),
            "incident": {"acked_by": "ann", "acked_at": ago(200)},
        },
        "cooldown",
        WAIT,
        "escalated",
    ),
    Row("lease lost", {"lease_held": False}, "lease", WAIT, "does not hold the lease"),
    Row("unknown action", {"action": None}, "action", DENY, "nobody knows the action consul.maintenance"),
    Row("another action's description", {"action": {"name": "x"}}, "action", DENY, "the intent wants"),
    Row("touches what nobody heard of", {"action": {"touches": "moon"}}, "action", DENY, "'moon'"),
    Row("nothing matched", {"matched": 0}, "empty_selection", DENY, "matches nothing"),
    Row("no target", aimed(Target(dc="dc1")), "empty_selection", DENY, "names no service", alone=False),
    Row("star for a node", aimed(Target(dc="dc1", node="*")), "empty_selection", DENY, "pattern", alone=False),
    Row(
        "instance on no node",
        aimed(Target(dc="dc1", service="pay-api", instance="pay-1")),
        "empty_selection",
        DENY,
        "has no node",
    ),
    Row("no matcher", {"playbook": {"match": {"matchers": ()}}}, "empty_selection", DENY, "narrows", alone=False),
    Row(
        "a matcher that is always true",
        {"playbook": {"match": {"matchers": (Matcher(name="service", op="=~", value="^(.*)$"),)}}},
        "empty_selection",
        DENY,
        "narrows the choice",
        alone=False,
    ),
    Row("match_all meant", {"playbook": {"match": {"matchers": (), "match_all": True}}}, "empty_selection", ALLOW),
    Row(
        "Consul itself",
        aimed(Target(dc="dc1", service="Consul", node="n1", instance="c")),
        "self_protection",
        DENY,
    ),
    Row("the deny list", policy(deny=("pay-api",)), "self_protection", DENY, "pay-api is on the deny list"),
    Row(
        "an empty list denies nobody else", {**policy(deny=()), **aimed(SVC, expected=4)}, "self_protection", ALLOW
    ),
    Row(
        "consulguard with an empty list",
        {**policy(deny=()), **aimed(Target(dc="dc1", service="consulguard", node="n1", instance="c1"))},
        "self_protection",
        DENY,
    ),
    Row(
        "a protected service's sidecar",
        aimed(Target(dc="dc1", service="consulguard-sidecar-proxy", node="n1", instance="p")),
        "self_protection",
        DENY,
    ),
    Row(
        "a server's node",
        {
            **policy(deny_nodes=("n1",)),
            **aimed(N1),
            "stakes": (Stake(service="a", expected=4, healthy=3, serving=0),),
        },
        "self_protection",
        DENY,
        "the node n1 is on the deny list",
    ),
    Row("an instance on a server's node", policy(deny_nodes=("n1",)), "self_protection", ALLOW),
    Row("our own instance", {"policy": {"own_targets": (PAY,)}}, "self_protection", DENY, "needs to live"),
    Row("our own service", {"policy": {"own_targets": (SVC,)}}, "self_protection", DENY, "would hit pay-api"),
    Row(
        "of another datacenter's unit",
        {"policy": {"datacenter": "dc2", "partition": "default"}},
        "self_protection",
        DENY,
        "pay-1 is in dc1, which is led by itself",
    ),
    Row("of our unit", {"policy": {"datacenter": "dc1", "partition": "default"}}, "self_protection", ALLOW),
    Row("where there are no units", {"policy": {"datacenter": "dc2"}}, "self_protection", ALLOW),
    Row("another instance on our own node", {"policy": {"own_targets": (N1,)}}, "self_protection", ALLOW),
    Row(
        "the node our instance is on",
        {**aimed(N1), "policy": {"own_targets": (PAY,)}},
        "self_protection",
        DENY,
        "would hit pay-1",
    ),
    Row(
        "the parameters name Consul",
        {"intent": {"params": {"service": "consul"}}},
        "self_protection",
        DENY,
        "the service consul",
    ),
    *(
        Row(
            f"unsafe {word!r}",
            exec_on(Target(dc="dc1", service="pay-api", node="n1", instance=word)),
            "self_protection",
            WAIT,
            "unsafe name",
        )
        for word in ("web;rm", "$(id)", "`id`", "-rf", "аpi", "ｗｅｂ", "a b", "a\n", "x" * 129, "web:80", "a/b")
    ),
    Row(
        "a colon is fine for Consul's own API",
        aimed(Target(dc="dc1", service="pay-api", node="n1", instance="h:pay:8080")),
        "self_protection",
        ALLOW,
    ),
    Row(
        "a look-alike is not, even there",
        aimed(Target(dc="dc1", service="pаy-api", node="n1", instance="pay-1")),
        "self_protection",
        WAIT,
        r"'p\u0430y-api'",
    ),
    Row(
        "view untrusted",
        {"view": {"trusted": False, "reasons": ("no leader",)}},
        "view_trusted",
        WAIT,
        "no leader",
    ),
    Row("view old", {"view": {"as_of": ago(66)}}, "view_trusted", WAIT, "66 s old, at most 65 s"),
    Row("view just fresh", {"view": {"as_of": ago(65)}}, "view_trusted", ALLOW),
    Row("view of no age", {"view": {"as_of": None}}, "view_trusted", WAIT, "nobody can say"),
    Row("not settled", {"view": {"settled": False}}, "settled", WAIT, "not settled"),
    Row(
        "settled in a while",
        {"view": {"settled": False, "settled_at": NOW + timedelta(seconds=20)}},
        "settled",
        WAIT,
        "12:00:20",
    ),
    Row("storm", {"storm": Storm(on=True, since=ago(9), reason="9 of 10")}, "storm_brake", WAIT, "9 of 10"),
    Row("storm clearing", {"storm": Storm(on=True, clear_since=ago(299))}, "storm_brake", WAIT, "300 s of calm"),
    Row("storm in mid-run", {"storm": Storm(on=True), "first_effect": False}, "storm_brake", ALLOW, "begun"),
    Row("affected", {"subject": {"role": Role.AFFECTED}}, "role", DENY, "affected, not the root cause"),
    Row("at risk", {"subject": {"role": Role.AT_RISK}}, "role", DENY),
    Row("isolated", {"subject": {"role": Role.ISOLATED}}, "role", DENY),
    Row("a dependency fails", {"subject": {"depends_on_failing": ("db",)}}, "role", DENY, "depends on db"),
    Row("topology old", {"graph_at": ago(601)}, "role", ASK, "601 s old"),
    Row("topology of no age", {"graph_at": None}, "role", ASK, "nobody can say"),
    Row("affected, but an undo", {"subject": {"role": Role.AFFECTED}, "undo": True}, "role", ALLOW),
    Row("failing too short", {"subject": {"since": ago(59)}}, "hold_down", WAIT, "59 s, 60 s are needed"),
    Row("failing just long enough", {"subject": {"since": ago(60)}}, "hold_down", ALLOW),
    Row(
        "the playbook wants longer",
        {"playbook": {"match": {"for_s": 400.0}}},
        "hold_down",
        WAIT,
        "300 s, 400 s are needed",
    ),
    Row(
        "the playbook wants shorter",
        {"playbook": {"match": {"for_s": 0.0}}, "subject": {"since": ago(5)}},
        "hold_down",
        WAIT,
    ),
    Row("never seen", {"subject": {"looks": 0}}, "hold_down", WAIT, "seen so in 0 answers"),
    Row("seen once", {"subject": {"looks": 1}}, "hold_down", ALLOW),
    Row("a young root", {"incident": {"root_since": ago(9)}}, "hold_down", WAIT, "9.0 s old, 10 s are needed"),
    Row("young, in mid-run", {"subject": {"since": ago(1)}, "first_effect": False}, "hold_down", ALLOW),
    Row("in maintenance", {"subject": {"state": State.MAINTENANCE}}, "maintenance", WAIT, "in Consul maintenance"),
    Row(
        "put into maintenance a moment ago",
        {"looked": {"status": Status.MAINTENANCE}, "playbook": {"match": {"states": (State.MAINTENANCE,)}}},
        "maintenance",
        WAIT,
        "a moment ago",
    ),
    Row(
        "asks to be skipped",
        {"subject": {"meta": {"consulguard.io/skip": "true"}}},
        "maintenance",
        WAIT,
        "left alone",
    ),
    Row("skip without a value", {"subject": {"meta": {"consulguard.io/skip": ""}}}, "maintenance", WAIT),
    Row("skip says no", {"subject": {"meta": {"consulguard.io/skip": " No "}}}, "maintenance", ALLOW),
    Row(
        "our own drain in mid-run",
        {"looked": {"status": Status.MAINTENANCE}, "first_effect": False},
        "maintenance",
        ALLOW,
    ),
    Row(
        "outside the window",
        windowed(NIGHT),
        "window",
        WAIT,
        "night is closed; it opens at 2026-01-01 22:00",
    ),
    Row("inside the window", windowed(NOON), "window", ALLOW, "the window night is open"),
    Row("outside, in mid-run", {**windowed(NIGHT), "first_effect": False}, "window", ALLOW, "goes on"),
    Row("outside, an undo", {**windowed(NIGHT), "undo": True}, "window", ALLOW, "goes on"),
    Row("a blackout", windowed(DARK), "window", WAIT, "closed (year's end); it opens at 2026-01-02 06:00"),
    Row(
        "the playbook's own window",
        {**policy(windows={"night": NIGHT}), "playbook": {"limits": {"window": "night"}}},
        "window",
        WAIT,
        "the window night is closed",
    ),
    Row("a window nobody knows", {"playbook": {"limits": {"window": "x"}}}, "window", DENY, "the window 'x'"),
    Row(
        "a zone nobody knows",
        windowed(Window(zone="No/Where", open=NIGHT.open)),
        "window",
        WAIT,
        "cannot be evaluated",
    ),
    Row(
        "a rollout under way",
        looked(holds=("a rollout is in progress",)),
        "rollout",
        WAIT,
        "rollout is in progress",
    ),
    Row(
        "a rollout in mid-run",
        {"looked": {"holds": ("a rollout is in progress", "and more")}, "first_effect": False},
        "rollout",
        WAIT,
        "in progress; and more",
    ),
    Row("no rollout", looked(holds=()), "rollout", ALLOW, "no rollout is in the way"),
    Row(
        "a rollout is asked for later",
        {"phase": "plan", "looked": None},
        "rollout",
        ALLOW,
        "just before the effect",
    ),
    Row("flapping", {"subject": {"state": State.FLAPPING}}, "flapping", WAIT, "nothing is done until it is calm"),
    Row(
        "flapping, which the playbook is for",
        {
            "subject": {"state": State.FLAPPING},
            "playbook": {"match": {"states": (State.FLAPPING,), "unless": ("maintenance",)}},
        },
        "flapping",
        ASK,
        "a person decides",
    ),
    Row("flapping in mid-run", {"subject": {"state": State.FLAPPING}, "first_effect": False}, "flapping", ALLOW),
    Row("not read again", {"looked": None}, "confirm", WAIT, "not been read again"),
    Row("not read again yet, while planning", {"looked": None, "phase": "plan"}, "confirm", ALLOW),
    Row("recovered by itself", looked(status=Status.PASSING, healthy=4), "confirm", DENY, "recovered by itself"),
    Row("the read failed", looked(error="500"), "confirm", WAIT, "could not be read again: 500"),
    Row("the read says nothing", looked(status=Status.UNKNOWN), "confirm", WAIT, "not understood"),
    Row("the read is old", looked(at=ago(6)), "confirm", WAIT, "6.0 s old"),
    Row("the read is of something else", looked(target=SHOP), "confirm", WAIT, "shop-1 was read again"),
    Row("the read is from before", {"seen_index": 10}, "confirm", WAIT, "index 9, older than 10"),
    Row("it only warns now", looked(status=Status.WARNING), "confirm", WAIT, "was critical, but read again"),
    Row("it has left the catalog", looked(status=Status.ABSENT), "confirm", WAIT, "absent"),
    Row(
        "a vanished one is absent",
        looked(status=Status.ABSENT) | {"playbook": {"match": {"states": (State.VANISHED,)}}},
        "confirm",
        ALLOW,
    ),
    Row(
        "passing in mid-run",
        {"looked": {"status": Status.PASSING, "healthy": 4}, "first_effect": False},
        "confirm",
        ALLOW,
        "already begun",
    ),
)
