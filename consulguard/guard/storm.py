"""The storm brake: a mass change is more likely the observer, or one shared cause, than many faults to cure.

It trips when one of three holds (``GuardPolicy`` has the numbers):

* within ``storm_window_s`` at least ``storm_min`` and ``storm_share`` of the fleet turned bad, not counting what a
  service root explains with confidence: else every cascade in a small mesh would stop its own cure;
* of at least ``storm_min`` such, more than ``storm_group_share`` are on one node or in one zone, unless most of
  the fleet lives on that node anyway;
* at least ``storm_min`` and ``storm_fleet_share`` of the fleet are bad at all, explained or not.

It is off again only after none of them has held for ``storm_cooldown_s``; a new trip starts that anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from consulguard.guard.share import at_least, at_most
from consulguard.guard.situation import Storm
from consulguard.model import State, Trouble
from consulguard.policy import GuardPolicy

RECHECK_S = 5.0  # while it trips we look this often: a later end is safe, and a storm has better uses for the time


def _nowhere(_: str) -> bool:
    return False


class Fleet(NamedTuple):
    """``instances``: 0 when unknown, then shares of the fleet are not judged. ``crowded`` says whether most of the
    fleet lives on a node: asked only when the brake would trip because of that node."""

    instances: int
    crowded: Callable[[str], bool] = _nowhere


_CRITICAL, _VANISHED, _FLAPPING = State.CRITICAL, State.VANISHED, State.FLAPPING


def update(
    storm: Storm,
    *,
    troubles: Mapping[str, Trouble],
    explained: frozenset[str],
    fleet: Fleet,
    at: datetime,
    policy: GuardPolicy,
) -> Storm:
    """The brake's state as of ``at``. Costs time in proportion to the troubles, hardly any while it trips.

    Args:
        troubles: everything not passing, by target key.
        explained: keys of what a service root explains with confidence.
        fleet: all that is registered, whether it fails or not.
    """
    if storm.recheck_at is not None and at < storm.recheck_at:
        return storm
    reason = _trips(troubles, explained, fleet, at, policy)
    if reason:
        return _tripped(storm, reason, at)
    if not storm.on:
        return storm
    clear_since = storm.clear_since or at
    if at - clear_since >= timedelta(seconds=policy.storm_cooldown_s):
        return Storm()
    return Storm(on=True, since=storm.since, clear_since=clear_since, reason=storm.reason)


def next_wake(storm: Storm, policy: GuardPolicy) -> datetime | None:
    """When the brake may change by time alone; None while it is off."""
    if not storm.on:
        return None
    if storm.clear_since is not None:
        return storm.clear_since + timedelta(seconds=policy.storm_cooldown_s)
    return storm.recheck_at


def _tripped(storm: Storm, reason: str, at: datetime) -> Storm:
    again = not storm.on or storm.clear_since is not None
    return Storm(
        on=True,
        since=storm.since if storm.on else at,
        reason=reason if again else storm.reason,  # what people read does not change every few seconds
        recheck_at=at + timedelta(seconds=RECHECK_S),
    )


def _trips(
    troubles: Mapping[str, Trouble],
    explained: frozenset[str],
    fleet: Fleet,
    at: datetime,
    policy: GuardPolicy,
) -> str:
    """Why the brake must be on now, as a sentence; empty when it need not."""
    if len(troubles) < policy.storm_min:
        return ""
    bad = [t for t in troubles.values() if _is_bad(t.state)]
    if len(bad) < policy.storm_min:
        return ""
    reason = _all_over(_by_node(bad).total(), fleet.instances, policy)
    if reason:
        return reason
    after = at - timedelta(seconds=policy.storm_window_s)
    fresh = [t for key, t in troubles.items() if t.since >= after and key not in explained and _is_bad(t.state)]
    nodes = _by_node(fresh)
    return (
        _all_at_once(nodes.total(), fleet.instances, policy)
        or _on_one_node(nodes, fleet, policy)
        or _in_one_place("zone", _by_zone(fresh), policy)
    )


def _on_one_node(nodes: Counter[str], fleet: Fleet, policy: GuardPolicy) -> str:
    return _in_one_place("node", nodes, policy) and _in_one_place("node", _less(nodes, fleet.crowded), policy)


def _less(counts: Counter[str], crowded: Callable[[str], bool]) -> Counter[str]:
    """Without the leading node's name where most of the fleet lives on it: there it proves nothing."""
    name = max(counts, key=lambda n: (counts[n], n), default="")
    if not name or not crowded(name):
        return counts
    rest = Counter(counts)
    rest[""] += rest.pop(name)
    return rest


def _is_bad(state: State) -> bool:
    # Identity with bound members: an enum's hash and look-up are slow, and a storm asks a hundred thousand times.
    return state is _CRITICAL or state is _VANISHED or state is _FLAPPING


def _by_node(troubles: list[Trouble]) -> Counter[str]:
    """How many instances on each node; a node that is bad itself counts as one when none of its instances is."""
    instances = Counter([t.target.node for t in troubles if t.target.instance])
    for t in troubles:
        if not t.target.instance and t.target.node:
            instances.setdefault(t.target.node, 1)
    return instances


def _by_zone(troubles: list[Trouble]) -> Counter[str]:
    """How many instances in each zone; those whose zone nobody knows are counted together, as no zone."""
    return Counter([t.zone for t in troubles if t.target.instance])


def _all_over(count: int, fleet: int, policy: GuardPolicy) -> str:
    need = max(policy.storm_min, at_least(policy.storm_fleet_share, fleet))
    if fleet < 1 or count < need:
        return ""
    return f"{count} of {fleet} instances are not healthy at all, {need} are enough for the brake"


def _all_at_once(count: int, fleet: int, policy: GuardPolicy) -> str:
    need = max(policy.storm_min, at_least(policy.storm_share, fleet))
    if count < need:
        return ""
    window = f"within {policy.storm_window_s:.0f} s"
    return (
        f"{count} of {fleet or 'unknown'} instances failed {window}, unexplained by a service; {need} are enough"
    )


def _in_one_place(kind: str, counts: Counter[str], policy: GuardPolicy) -> str:
    total = counts.total()
    places = [(n, name) for name, n in counts.items() if name]
    if total < policy.storm_min or not places:
        return ""
    count, name = max(places)
    if count <= at_most(policy.storm_group_share, total):  # more than the share
        return ""
    return f"{kind} {name} has {count} of the {total} instances that failed lately and no service explains"
