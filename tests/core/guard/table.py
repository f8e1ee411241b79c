"""The scenario table: one thing is wrong at a time, and one guard has to say so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from consulguard.guard.situation import Stake, Storm
from consulguard.model import Decision, Matcher, Mode, Pause, Role, State, Status, Target

from tests.core.guard.scenes import NOW, PAY, RESTART, ROUTE, SHOP, ago, an_attempt, an_intent, instance

ALLOW, WAIT, ASK, DENY = Decision.ALLOW, Decision.WAIT, Decision.ASK, Decision.DENY
N1 = Target(dc="dc1", node="n1")
SVC = Target(dc="dc1", service="pay-api")
EVERYTHING = {"max_open_per_service": 9, "max_open_per_node": 9}


class Row(NamedTuple):
    name: str
    changes: dict[str, Any]
    guard: str
    decision: Decision
    words: str = ""  # part of the reason
    alone: bool = True  # this guard's answer alone decides


def pause(depth: str = "pause", **more: Any) -> Pause:
    return Pause(who="ann", why="release", since=ago(60), depth=depth, **more)


def aimed(target: Target, **more: Any) -> dict[str, Any]:
    """The changes that aim the whole scene at another target."""
    return {
        "intent": {"target": target},
        "subject": {"target": target, **more},
        "looked": {"target": target},
    }


def exec_on(target: Target) -> dict[str, Any]:
    changes = aimed(target)
    changes["intent"] = {"target": target, "action": RESTART.name, "params": {}}
    return {**changes, "action": RESTART}


def looked(**more: Any) -> dict[str, Any]:
    return {"looked": more}


def policy(**guard: Any) -> dict[str, Any]:
    return {"policy": {"guard": guard}}


ROWS: tuple[Row, ...] = (
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
    Row("seen once", {"subject": {"looks": 1}}, "hold_down", WAIT, "1 of 2 answers"),
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
        {**looked(status=Status.ABSENT), "subject": {"state": State.VANISHED}},
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
    Row(
        "too few healthy",
        {"looked": {"healthy": 1, "registered": 3}, "subject": {"expected": 3}},
        "min_healthy",
        DENY,
        "1 of 3 instances of pay-api are healthy; acting would leave 1, at least 2 are needed",
        alone=False,
    ),
    Row("just enough healthy", looked(healthy=2), "min_healthy", ALLOW, "leave 2, at least 2"),
    Row(
        "the target still serves",
        {"looked": {"status": Status.PASSING, "healthy": 2}, "first_effect": False},
        "min_healthy",
        DENY,
        "acting would leave 1",
        alone=False,
    ),
    Row(
        "others at work on it",
        {
            **policy(**EVERYTHING, max_share=1.0),
            "looked": {"healthy": 2},
            "open_intents": (an_intent(instance(2)),),
        },
        "min_healthy",
        DENY,
        "acting would leave 1",
    ),
    Row(
        "the playbook is stricter",
        {"playbook": {"limits": {"min_healthy": 1.0}}, **policy(max_share=0.3)},
        "min_healthy",
        DENY,
        "at least 4",
    ),
    Row(
        "the playbook is laxer",
        {"playbook": {"limits": {"min_healthy": 0.0}}, **looked(healthy=1)},
        "min_healthy",
        DENY,
        alone=False,
    ),
    Row(
        "the only instance",
        {"looked": {"healthy": 0, "registered": 1}, "subject": {"expected": 1}},
        "min_healthy",
        DENY,
        "allow_last_instance",
        alone=False,
    ),
    Row(
        "the only instance, allowed",
        {
            "looked": {"healthy": 0, "registered": 1},
            "subject": {"expected": 1},
            "playbook": {"limits": {"allow_last_instance": True}},
        },
        "min_healthy",
        ASK,
        "so a person decides",
    ),
    Row(
        "the expected count knows of one that left",
        {"looked": {"healthy": 1, "registered": 2}},
        "min_healthy",
        DENY,
        "1 of 4",
        alone=False,
    ),
    Row(
        "no counts at all",
        {"subject": {"expected": 0}, "looked": {"registered": 0}},
        "min_healthy",
        WAIT,
        "nobody can say how many",
    ),
    Row("a floor that is none", policy(min_healthy=1.5), "min_healthy", WAIT, "cannot be evaluated", alone=False),
    Row(
        "lifting maintenance", {"intent": {"params": {"enable": False}}, **looked(healthy=0)}, "min_healthy", ALLOW
    ),
    Row("an undo of what is down", {"undo": True, **looked(healthy=0)}, "min_healthy", ALLOW, "nothing away"),
    Row(
        "the whole service is down",
        {
            **aimed(SVC),
            "looked": {"target": SVC, "healthy": 0},
            "action": ROUTE,
            "intent": {"target": SVC, "action": ROUTE.name},
        },
        "min_healthy",
        ASK,
        "about the whole service",
        alone=True,
    ),
    Row(
        "restarting a whole service",
        {**aimed(SVC), "action": RESTART, "intent": {"target": SVC, "action": RESTART.name}},
        "min_healthy",
        ASK,
        "acting would leave 0",
    ),
    Row("a dead node", aimed(N1, expected=0), "min_healthy", ASK, "serves nothing any more"),
    Row(
        "a node and one of its services at the floor",
        {
            **aimed(N1),
            "stakes": (
                Stake(service="a", expected=4, healthy=4, serving=1),
                Stake(service="b", expected=4, healthy=2, serving=1),
            ),
        },
        "min_healthy",
        DENY,
        "2 of 4 instances of b are healthy; acting would leave 1, at least 2",
    ),
    Row("too many matched", {"matched": 11}, "blast_radius", DENY, "11 subjects at once, at most 10"),
    Row(
        "three targets at work",
        {"open_intents": tuple(an_intent(instance(n, f"s{n}")) for n in (2, 3, 4))},
        "blast_radius",
        WAIT,
        "3 targets in the fleet being worked on, at most 3",
    ),
    Row(
        "three steps on one target are one",
        {"open_intents": tuple(an_intent(SHOP, id=f"run-{n}/0/1") for n in (2, 3, 4))},
        "blast_radius",
        ALLOW,
    ),
    Row(
        "one of the service",
        {"open_intents": (an_intent(instance(2)),)},
        "blast_radius",
        WAIT,
        "1 target of pay-api",
    ),
    Row(
        "one on the node", {"open_intents": (an_intent(instance(1, "shop")),)}, "blast_radius", WAIT, "on node n1"
    ),
    Row(
        "ten percent of thirty",
        {
            **policy(**EVERYTHING, max_open=9),
            "subject": {"expected": 30},
            "looked": {"healthy": 25, "registered": 30},
            "open_intents": tuple(an_intent(instance(n)) for n in (2, 3, 4)),
        },
        "blast_radius",
        WAIT,
        "10% of 30 instances of pay-api allow 3 at a time, and 3 being worked on",
    ),
    Row(
        "the instances that left still count",
        {
            **policy(**EVERYTHING),
            "subject": {"expected": 10},
            "looked": {"healthy": 8, "registered": 1},
            "open_intents": (an_intent(instance(2)),),
        },
        "blast_radius",
        WAIT,
        "allow 1 at a time",
    ),
    Row("too soon after another", {"attempts": (an_attempt(9.5, SHOP),)}, "blast_radius", WAIT, "9.5 s ago"),
    Row("not too soon after another", {"attempts": (an_attempt(10, SHOP),)}, "blast_radius", ALLOW),
    Row(
        "the service's budget is spent",
        {"attempts": tuple(an_attempt(3000 - n, instance(2)) for n in range(5))},
        "blast_radius",
        WAIT,
        "5 runs started on pay-api in the last hour",
    ),
    Row(
        "the whole budget is spent",
        {"attempts": tuple(an_attempt(3000 - n, instance(2, f"s{n}")) for n in range(20))},
        "blast_radius",
        WAIT,
        "20 runs started in all",
    ),
    Row(
        "too soon, in mid-run", {"attempts": (an_attempt(1, SHOP),), "first_effect": False}, "blast_radius", ALLOW
    ),
    Row(
        "another run on the node itself",
        {**policy(**EVERYTHING), "open_intents": (an_intent(N1),)},
        "target_lock",
        WAIT,
        "n1 is held by exec.run of other",
    ),
    Row(
        "another run on the service",
        {**policy(**EVERYTHING, max_share=1.0), "open_intents": (an_intent(SVC),)},
        "target_lock",
        WAIT,
        "pay-api is held",
    ),
    Row(
        "the same instance, in mid-run",
        {**policy(**EVERYTHING, max_share=1.0), "open_intents": (an_intent(PAY),), "first_effect": False},
        "target_lock",
        WAIT,
    ),
    Row(
        "a namesake elsewhere",
        {"open_intents": (an_intent(Target(dc="dc2", service="pay-api", node="n1")),)},
        "target_lock",
        ALLOW,
    ),
    Row("tried a minute ago", {"attempts": (an_attempt(119),)}, "cooldown", WAIT, "119 s of 120 s"),
    Row("rested after one", {"attempts": (an_attempt(120),)}, "cooldown", ALLOW),
    Row("tried twice", {"attempts": (an_attempt(900), an_attempt(239))}, "cooldown", WAIT, "239 s of 240 s"),
    Row("rested after two", {"attempts": (an_attempt(900), an_attempt(240))}, "cooldown", ALLOW),
    Row(
        "counts from the end",
        {"attempts": (an_attempt(500, ended_at=ago(100)),)},
        "cooldown",
        WAIT,
        "100 s of 120 s",
    ),
    Row(
        "the instance was replaced",
        {"attempts": (an_attempt(60, Target(dc="dc1", service="pay-api", node="n1", instance="pay-0")),)},
        "cooldown",
        WAIT,
    ),
    Row("another instance is free", {"attempts": (an_attempt(60, instance(2)),)}, "cooldown", ALLOW),
    Row(
        "another instance failed",
        {"attempts": (an_attempt(299, instance(2), outcome="failed"),)},
        "cooldown",
        WAIT,
        "a run on pay-api failed: 299 s of 300 s",
    ),
    Row(
        "another instance was escalated",
        {"attempts": (an_attempt(3599, instance(2), outcome="escalated"),)},
        "cooldown",
        WAIT,
        "escalated",
    ),
    Row(
        "the playbook rests longer",
        {"attempts": (an_attempt(500),), "playbook": {"limits": {"cooldown_s": 900.0}}},
        "cooldown",
        WAIT,
        "of 900 s",
    ),
    Row("fresh, in mid-run", {"attempts": (an_attempt(20),), "first_effect": False}, "cooldown", ALLOW),
    Row(
        "tried twice by this playbook",
        {"attempts": (an_attempt(3500, playbook="drain"), an_attempt(3000, playbook="drain"))},
        "attempt_cap",
        DENY,
        "drain was tried 2 times on pay-1 in the last 3600 s, 2 allowed",
    ),
    Row(
        "tried twice, once long ago",
        {"attempts": (an_attempt(3600, playbook="drain"), an_attempt(3000, playbook="drain"))},
        "attempt_cap",
        ALLOW,
    ),
    Row(
        "the playbook allows one",
        {"attempts": (an_attempt(3000, playbook="drain"),), "playbook": {"limits": {"attempts_max": 1}}},
        "attempt_cap",
        DENY,
        "1 time ",
    ),
    Row(
        "the playbook looks back longer",
        {
            "attempts": (an_attempt(7000, playbook="drain"), an_attempt(6000, playbook="drain")),
            "playbook": {"limits": {"attempts_max": 5, "attempts_window_s": 7200.0}},
        },
        "attempt_cap",
        DENY,
    ),
    Row("observe", {"policy": {"mode": Mode.OBSERVE}}, "mode", DENY, "mode is observe: would act"),
    Row("approve", {"playbook": {"mode": Mode.APPROVE}}, "mode", ASK, "the playbook drain says so"),
    Row("no verify", {"playbook": {"verify": None}}, "mode", ASK, "no verify"),
    Row("destructive playbook", {"playbook": {"destructive": True}}, "mode", ASK, "destructive"),
    Row("destructive action", {"action": {"destructive": True}}, "mode", ASK, "destructive"),
    Row(
        "the service says observe", {"subject": {"meta": {"consulguard.io/mode": "observe"}}}, "mode", DENY, "meta"
    ),
    Row("the service says nonsense", {"subject": {"meta": {"consulguard.io/mode": "yes"}}}, "mode", DENY, "'yes'"),
    Row("the service says auto", {"subject": {"meta": {"consulguard.io/mode": "Auto"}}}, "mode", ALLOW),
)
