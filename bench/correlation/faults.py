"""Faults and what they do: who breaks, who suffers from it, and when."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from bench.correlation.checks import Ill
from bench.correlation.world import World

KINDS = ("service", "hidden", "node", "zone", "double", "none")
PARTIAL = 0.25  # faults of one instance only
UNIT_SUFFERS = 0.93  # instances of a victim that suffer
RECOVERS = 0.1  # victims that get well again by themselves, after RECOVERS_S
RECOVERS_S = (20.0, 60.0)
DEAD = 0.6  # nodes that die, rather than being sick
ON_SICK = 0.85  # instances on a sick node that suffer
ZONE_HIT = 0.93  # nodes of a broken zone that are hit
SERF_S = (5.0, 30.0)  # until the other agents say that a node is dead
AROUND = 0.7  # of the calls to a dead instance that are not sent elsewhere, where there is elsewhere


@dataclass(slots=True)
class Fault:
    """What is broken: nothing of this is shown to a ranker."""

    services: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # of the services, those whose own checks stay green
    suffers: dict[str, float] = field(default_factory=dict)  # service -> since when, by its calls
    blamed: set[str] = field(default_factory=set)  # instances, and node:<n>, whose flips it explains
    frozen: dict[str, float] = field(default_factory=dict)  # node -> since when its checks say nothing
    serf: dict[str, float] = field(default_factory=dict)  # node -> when its serfHealth turns critical
    ills: dict[tuple[str, int], list[Ill]] = field(default_factory=dict)  # (instance, number of its check)

    def strike(self, instance: str, check: int, ill: Ill) -> None:
        self.ills.setdefault((instance, check), []).append(ill)
        self.blamed.add(instance)


def of_service(world: World, dice: random.Random, service: str, start: float, hidden: bool) -> Fault:
    """All of it or one instance; a hidden one is seen by none of its own checks, any other by at least one."""
    fault = Fault(services=[service], hidden=[service] if hidden else [])
    units = world.units[service]
    broken = [dice.choice(units)] if dice.random() < PARTIAL else units
    if not hidden:
        seen = [n for n, check in enumerate(world.checks[service]) if dice.random() < check.own]
        if not seen:
            checks = world.checks[service]
            seen = [max(range(len(checks)), key=lambda n: checks[n].own)]
        share = 1.0 if dice.random() < 0.7 else dice.uniform(0.6, 1.0)
        for instance in broken:
            for n in seen:
                fault.strike(instance, n, Ill(start, inf, share))
    _spread(world, dice, fault, {service: (start, len(broken) / len(units))})
    return fault


def of_node(world: World, dice: random.Random, node: str) -> Fault:
    return _of_nodes(world, dice, [node], dead=dice.random() < DEAD, fault=Fault(nodes=[node]))


def of_zone(world: World, dice: random.Random, zone: str) -> Fault:
    nodes = [n for n, z in world.topology["zones"].items() if z == zone and dice.random() < ZONE_HIT]
    return _of_nodes(world, dice, nodes, dead=dice.random() < DEAD, fault=Fault(zones=[zone]))


def _of_nodes(world: World, dice: random.Random, nodes: list[str], dead: bool, fault: Fault) -> Fault:
    here: dict[str, int] = {}
    for node in nodes:
        if dead:
            fault.frozen[node] = 0.0
            fault.serf[node] = dice.uniform(*SERF_S)
            fault.blamed.add(f"node:{node}")
        for instance in world.hosted.get(node, ()):
            service = world.topology["instances"][instance]
            here[service] = here.get(service, 0) + 1
            if not dead and dice.random() < ON_SICK:
                share = dice.uniform(0.6, 1.0)
                for n, check in enumerate(world.checks[service]):
                    if dice.random() < check.own:
                        fault.strike(instance, n, Ill(dice.uniform(0.0, 5.0), inf, share))
    sources = {}
    for service, count in here.items():
        share = count / len(world.units[service])
        sources[service] = (0.0, share if share == 1 else AROUND * share)
    _spread(world, dice, fault, sources)
    return fault


def _spread(world: World, dice: random.Random, fault: Fault, sources: Mapping[str, tuple[float, float]]) -> None:
    """From callee to caller: each call carries the trouble on with its own chance, after its own time."""
    heap = [(since, service, share) for service, (since, share) in sorted(sources.items())]
    heapq.heapify(heap)
    done: set[str] = set()
    while heap:
        since, service, share = heapq.heappop(heap)
        if service in done:
            continue
        done.add(service)
        if service not in sources:
            fault.suffers[service] = since
            _suffer(world, dice, fault, service, since)
        for caller in world.callers.get(service, ()):
            edge = world.edges[caller, service]
            if dice.random() < edge.strength * share and caller not in sources:
                heapq.heappush(heap, (since + dice.expovariate(1 / edge.delay_s), caller, 1.0))


def _suffer(world: World, dice: random.Random, fault: Fault, service: str, since: float) -> None:
    """A victim's checks see it or not, alike on all its instances."""
    share = dice.uniform(0.5, 1.0)
    end = since + dice.uniform(*RECOVERS_S) if dice.random() < RECOVERS else inf
    for n, check in enumerate(world.checks[service]):
        if dice.random() < check.deps:
            for instance in world.units[service]:
                if dice.random() < UNIT_SUFFERS:
                    fault.strike(instance, n, Ill(since + dice.uniform(0.0, 3.0), end, share))


def merged(first: Fault, second: Fault) -> Fault:
    """Both at once."""
    both = Fault(
        services=first.services + second.services,
        hidden=first.hidden + second.hidden,
        blamed=first.blamed | second.blamed,
        suffers=first.suffers | second.suffers,
    )
    for fault in (first, second):
        for key, ills in fault.ills.items():
            both.ills.setdefault(key, []).extend(ills)
    return both


def pick(world: World, dice: random.Random, fits: Callable[[str], bool]) -> str | None:
    """A service to break: three times in four one that somebody calls."""
    every: list[str] = [s for s in world.topology["services"] if fits(s)]
    called = [s for s in every if s in world.callers]
    if not every:
        return None
    return dice.choice(called if called and dice.random() < 0.75 else every)
