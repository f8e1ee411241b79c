"""What a row of the scenario table is, and how to write one."""

from __future__ import annotations

from typing import Any, NamedTuple

from consulguard.model import Decision, Matcher, Pause, Silence, Target

from tests.core.guard.scenes import RESTART, ago, later

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


def silence(since_s: float = 60, left_s: float = 60) -> Silence:
    return Silence(
        id="sil-1",
        matchers=(Matcher(name="service", op="=", value="pay-api"),),
        author="bea",
        comment="known, ticket 7",
        starts_at=ago(since_s),
        ends_at=later(left_s),
    )


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
