"""What is believed of a mesh before anything is heard of it: the truth, or what the shown topology tells."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any, NamedTuple

from bench.correlation.oracle.manners import Manner, manner_of
from bench.correlation.oracle.rates import TOLD, UNTOLD, Rates
from bench.correlation.world import (
    BEAT_S,
    DELAY_S,
    EVERY_S,
    FALSE,
    IN_A_ROW,
    MISSING,
    NOISE_S,
    OFTEN,
    SECOND,
    STRENGTHS,
    TTL_S,
    Check,
    World,
    built,
    second,
    some_checks,
    some_edge,
    some_rate,
)

_DELAYS, _RATES = 15, 4  # how finely they are looked at


class Call(NamedTuple):
    chance: float  # that the caller suffers
    delays: tuple[float, ...]  # mean times until it does, each as likely


class Kind(NamedTuple):
    """A check; how it behaves, with the chance of each manner."""

    name: str
    own: float
    deps: float
    manners: tuple[tuple[Manner, float], ...]


Kits = tuple[tuple[tuple[Kind, ...], float], ...]  # the checks that a service may have, with their chances
UNCHECKED: Kits = (((), 1.0),)


@dataclass(slots=True, eq=False)
class Belief:
    topology: Mapping[str, Any]
    calls: Mapping[tuple[str, str], Call]  # (caller, callee)
    stranger: Call | None  # each call that is not among them
    kits: Mapping[str, Kits]  # by service
    rates: tuple[float, ...]  # blips of a healthy check, per second, each as likely
    called: Mapping[str, float]  # chance that somebody calls it
    world: Callable[[random.Random], World]  # one that it may be
    told: Rates
    callers: dict[str, list[str]] = field(default_factory=dict)
    units: dict[str, list[str]] = field(default_factory=dict)
    hosted: dict[str, list[str]] = field(default_factory=dict)

    def checks(self) -> float:
        """How many there are, on average."""
        return sum(
            len(self.units[s]) * sum(len(kinds) * chance for kinds, chance in kits)
            for s, kits in self.kits.items()
        )


@dataclass(slots=True)
class Beliefs:
    """Each made once, and kept with what it is made of, so that nothing else gets its id."""

    make: Callable[[Any], Belief]
    known: dict[int, tuple[Any, Belief]] = field(default_factory=dict)

    def __call__(self, of: Any) -> Belief:
        if id(of) not in self.known:
            self.known[id(of)] = of, self.make(of)
        return self.known[id(of)][1]


def _believed(of: World, calls: Mapping[tuple[str, str], Call], **rest: Any) -> Belief:
    return Belief(of.topology, calls, callers=of.callers, units=of.units, hosted=of.hosted, **rest)


# ---- the truth


def _told(world: World) -> Belief:
    return _believed(
        world,
        {call: Call(edge.strength, (edge.delay_s,)) for call, edge in world.edges.items()},
        stranger=None,
        kits={s: ((tuple(map(_kind, checks)), 1.0),) for s, checks in world.checks.items()},
        rates=(world.noise_rate,),
        called={s: float(s in world.callers) for s in world.units},
        world=lambda dice: world,
        told=TOLD,
    )


def _kind(check: Check) -> Kind:
    return Kind(check.name, check.own, check.deps, ((manner_of(check), 1.0),))


# ---- what is shown


def seen(topology: dict[str, Any], told: Rates) -> Belief:
    services, shown = topology["services"], [(a, b) for a, b in topology["edges"]]
    false = round(FALSE * len(shown)) / max(len(shown), 1)
    missing = MISSING * len(shown) / max(len(services) * (len(services) - 1) - len(shown), 1)
    strength = sum(share * (low + high) / 2 for share, low, high in STRENGTHS)
    delays = tuple(_spaced(*DELAY_S, _DELAYS))
    checked = {s: s not in topology["unchecked"] for s in services}

    def world(dice: random.Random) -> World:
        edges = [call for call in shown if dice.random() >= false]
        pairs = [(a, b) for a in services for b in services if a != b and (a, b) not in known]
        edges += [pair for pair in pairs if dice.random() < missing]
        checks = {s: some_checks(dice) if checked[s] else [] for s in services}
        return built("shown", topology, {call: some_edge(dice) for call in edges}, checks, some_rate(dice))

    known = set(shown)
    plain = built("shown", topology, {call: some_edge(random.Random(0)) for call in shown}, {}, 0.0)
    return _believed(
        plain,
        dict.fromkeys(shown, Call((1 - false) * strength, delays)),
        stranger=Call(missing * strength, delays),
        kits={s: some_kits(told) if checked[s] else UNCHECKED for s in services},
        rates=tuple(1 / between for between in _spaced(*NOISE_S, _RATES)),
        called={
            s: 1 - prod(false if (c, s) in known else 1 - missing for c in services if c != s) for s in services
        },
        world=world,
        told=told,
    )


def _spaced(low: float, high: float, count: int) -> Iterator[float]:
    return (low + (high - low) * (k + 0.5) / count for k in range(count))


@cache
def some_kits(told: Rates) -> Kits:
    """All that a service may be checked by."""
    found: dict[tuple[str, ...], float] = {}
    for name, often in OFTEN.items():
        both = tuple(sorted((name, second(name))))
        for names, chance in (((name,), 1 - SECOND), (both, SECOND)):
            found[names] = found.get(names, 0.0) + often * chance
    return tuple((tuple(_some_kind(name, told) for name in names), chance) for names, chance in found.items())


@cache
def _some_kind(name: str, told: Rates) -> Kind:
    manners = [Manner(e, max(bad, 1), max(good, 1)) for e in EVERY_S for bad in IN_A_ROW for good in IN_A_ROW]
    if name == "ttl":
        manners = [Manner(BEAT_S, round(TTL_S / BEAT_S), 1)]
    return Kind(name, *told.sights[name], _counted(manners))


def _counted(manners: Sequence[Manner]) -> tuple[tuple[Manner, float], ...]:
    return tuple((manner, manners.count(manner) / len(manners)) for manner in dict.fromkeys(manners))


told, shown = Beliefs(_told), Beliefs(lambda topology: seen(topology, TOLD))
unrated = Beliefs(lambda topology: seen(topology, UNTOLD))
