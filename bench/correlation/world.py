"""A mesh with its hidden physics: what callers really lean on and how much, and how each check behaves.

The topology that a ranker is shown has some edges too many and some too few, and says nothing of strengths.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from bench.correlation.meshes import LARGE, calls_of

MISSING, FALSE = 0.05, 0.05  # of the edges that are shown
UNCHECKED = 0.1  # of the services
ZONES = 3
STRENGTHS = ((0.5, 0.8, 1.0), (0.3, 0.35, 0.8), (0.2, 0.02, 0.3))  # of calls: how many, from, to
DELAY_S = (0.5, 15.0)
SIGHTS = {  # of checks: the chance that they see a fault of the service itself, and that it suffers from another
    "http": (0.95, 0.85),  # asks a page that needs everything
    "health": (0.8, 0.3),  # ... that needs little
    "tcp": (0.5, 0.05),  # only knocks
    "grpc": (0.9, 0.5),
    "ttl": (0.6, 0.2),
}
OFTEN = {"http": 0.45, "health": 0.15, "tcp": 0.15, "grpc": 0.15, "ttl": 0.1}
SECOND = 0.25  # services with a second check
EVERY_S = (5.0, 10.0, 10.0, 15.0, 30.0)
BEAT_S, TTL_S = 10.0, 30.0  # of a TTL check
IN_A_ROW = (0, 0, 1, 2)  # failures before critical, and successes before passing
NOISE_S = (3_600.0, 40_000.0)  # between blips of a healthy check
VARIANTS = 4  # physics and placings of one small mesh; a large one has one


class Edge(NamedTuple):
    """What a caller suffers when the callee is broken."""

    strength: float  # the chance that it suffers at all
    delay_s: float  # mean time until it does


Edges = dict[tuple[str, str], Edge]


@dataclass(frozen=True, slots=True)
class Check:
    """How one check of each instance of a service behaves; thresholds as Consul names them."""

    name: str
    every_s: float
    failures_before_critical: int
    success_before_passing: int
    own: float  # the chance that it sees a fault of the service itself
    deps: float  # ... that it sees that the service suffers from another
    soft: bool = False  # it warns rather than being critical
    ttl_s: float = 0.0  # of a TTL check, which the service beats every ``every_s``


@dataclass(slots=True)
class World:
    id: str
    topology: dict[str, Any]  # as rankers are shown it
    edges: Edges  # (caller, callee), the true ones
    checks: dict[str, list[Check]]  # by service; empty: unchecked
    noise_rate: float  # blips of a healthy check, per second
    callers: dict[str, list[str]] = field(default_factory=dict)
    units: dict[str, list[str]] = field(default_factory=dict)  # service -> instances
    hosted: dict[str, list[str]] = field(default_factory=dict)  # node -> instances


@lru_cache(maxsize=64)
def world(mesh: str, variant: int, seed: int) -> World:
    dice = random.Random(f"world/{mesh}/{variant}/{seed}")
    calls = calls_of(mesh)
    services = list(calls)
    true = [(caller, callee) for caller, callees in calls.items() for callee in callees]
    checks = {s: [] if dice.random() < UNCHECKED else some_checks(dice) for s in services}
    large = mesh in LARGE
    topology = {
        "services": services,
        "edges": _shown(dice, services, true),
        "unchecked": [s for s in services if not checks[s]],
        **_placed(dice, services, large),
    }
    edges = {call: some_edge(dice) for call in true}
    noise_rate = 1 / 86_400 if large else some_rate(dice)
    return built(f"{mesh}.{variant}", topology, edges, checks, noise_rate)


def built(
    id: str,
    topology: dict[str, Any],
    edges: Edges,
    checks: dict[str, list[Check]],
    noise_rate: float,
) -> World:
    made = World(id, topology, edges, checks, noise_rate)
    for caller, callee in edges:
        made.callers.setdefault(callee, []).append(caller)
    for instance, service in topology["instances"].items():
        made.units.setdefault(service, []).append(instance)
        made.hosted.setdefault(topology["nodes"][instance], []).append(instance)
    return made


def some_rate(dice: random.Random) -> float:
    return 1 / dice.uniform(*NOISE_S)


def some_edge(dice: random.Random) -> Edge:
    """Half of the calls cannot be done without, some partly, some are cached or made aside."""
    ((_, low, high),) = dice.choices(STRENGTHS, [share for share, _, _ in STRENGTHS])
    return Edge(dice.uniform(low, high), dice.uniform(*DELAY_S))


def _shown(dice: random.Random, services: list[str], true: list[tuple[str, str]]) -> list[list[str]]:
    shown = [list(edge) for edge in true if dice.random() >= MISSING]
    known = set(true)
    for _ in range(round(FALSE * len(true))):
        edge = (dice.choice(services), dice.choice(services))
        if edge[0] != edge[1] and edge not in known:
            known.add(edge)
            shown.append(list(edge))
    return sorted(shown)


def _placed(dice: random.Random, services: list[str], large: bool) -> dict[str, Any]:
    sizes = {s: dice.choice((1, 1, 2) if large else (1, 2, 2, 3, 4)) for s in services}
    count = max(2 * ZONES, sum(sizes.values()) // 6)  # a zone of one node is that node
    nodes = [f"node-{n:04}" for n in range(count)]
    instances, where = {}, {}
    for service in services:
        for n, node in enumerate(dice.sample(nodes, sizes[service])):
            instances[f"{service}-{n}"] = service
            where[f"{service}-{n}"] = node
    zones = {node: f"zone-{n % ZONES}" for n, node in enumerate(nodes)}
    return {"instances": instances, "nodes": where, "zones": zones}


def some_checks(dice: random.Random) -> list[Check]:
    found = [_check(dice, dice.choices(list(OFTEN), list(OFTEN.values()))[0])]
    if dice.random() < SECOND:
        found.append(_check(dice, second(found[0].name)))
    return found


def second(name: str) -> str:
    """What is beside a check of this name, where anything is."""
    return "tcp" if name != "tcp" else "http"


def _check(dice: random.Random, name: str) -> Check:
    own, deps = SIGHTS[name]
    ttl = name == "ttl"
    every = BEAT_S if ttl else dice.choice(EVERY_S)
    return Check(
        name=name,
        every_s=every,
        failures_before_critical=0 if ttl else dice.choice(IN_A_ROW),
        success_before_passing=0 if ttl else dice.choice(IN_A_ROW),
        own=own,
        deps=deps,
        soft=name == "health" and dice.random() < 0.4,
        ttl_s=TTL_S if ttl else 0.0,
    )
