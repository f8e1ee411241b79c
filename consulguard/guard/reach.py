"""What an intent can hurt: its target and the things that contain it or are contained in it."""

from __future__ import annotations

from consulguard.guard.situation import Situation
from consulguard.model import ActionInfo, Attempt, Target


def stable_key(target: Target) -> str:
    """The key that stays when an instance is replaced: service and node, never the instance id."""
    return Target(
        dc=target.dc,
        partition=target.partition,
        namespace=target.namespace,
        peer=target.peer,
        service=target.service,
        node=target.node,
    ).key


def touches_nothing(s: Situation) -> bool:
    """Whether the action can hurt neither instance, node nor service. An unknown action can."""
    return s.action is not None and s.action.touches == "nothing"


def reach(s: Situation) -> Target:
    """The target, widened to the whole service or node where the action touches that."""
    return widened(s.intent.target, s.action)


def widened(target: Target, action: ActionInfo | None) -> Target:
    """The whole service or node where the action touches that, else the target."""
    touches = action.touches if action is not None else ""
    if touches == "node" and target.node:
        return target.of_node()
    if touches == "service" and target.service:
        return target.of_service()
    return target


def starting(s: Situation) -> bool:
    """Whether this is the first effect of a run: only that counts against budgets, pace and cooldown."""
    return s.first_effect and not s.undo


def covers(wide: Target, narrow: Target) -> bool:
    """Whether ``narrow`` is ``wide`` or a part of it: an instance of the service, an instance on the node."""
    if not same_place(wide, narrow):
        return False
    if wide.service and wide.namespace != narrow.namespace:
        return False
    pairs = ((wide.service, narrow.service), (wide.node, narrow.node), (wide.instance, narrow.instance))
    return all(not w or w == n for w, n in pairs)


def overlap(one: Target, other: Target) -> bool:
    """Whether one contains the other."""
    return covers(one, other) or covers(other, one)


def same_place(one: Target, other: Target) -> bool:
    """Whether both are known to the same catalog: datacenter, partition and peer."""
    return (one.dc, one.partition, one.peer) == (other.dc, other.partition, other.peer)


def same_service(one: Target, other: Target) -> bool:
    return bool(one.service) and one.of_service() == other.of_service()


def same_node(one: Target, other: Target) -> bool:
    return bool(one.node) and one.of_node() == other.of_node()


def busy(s: Situation) -> tuple[Target, ...]:
    """The distinct targets other runs work on."""
    return tuple({intent.target: None for intent in s.open_intents})


def tries(s: Situation, within_s: float) -> list[Attempt]:
    """Run starts of the last so many seconds, oldest first."""
    return sorted((a for a in s.attempts if (s.at - a.at).total_seconds() < within_s), key=lambda a: a.at)


def service_key(s: Situation) -> str:
    """The key under which attempts on the subject's service are kept; empty for a node."""
    target = s.subject.target
    return target.of_service().key if target.service else ""
