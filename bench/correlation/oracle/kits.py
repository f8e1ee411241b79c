"""Which checks a service may have, and of which manner, by what was heard of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp, log, prod
from statistics import fmean
from typing import NamedTuple

from bench.correlation.checks import LATE
from bench.correlation.faults import UNIT_SUFFERS
from bench.correlation.noise import WINDOW_S as NOISE_S
from bench.correlation.oracle.belief import Belief, Kind
from bench.correlation.oracle.deploys import Brief
from bench.correlation.oracle.heard import Heard
from bench.correlation.oracle.looks import BINS, SHARES, WINDOW_S, Flips, Look, Past, look, silent, spoils, timing
from bench.correlation.oracle.manners import Manner
from bench.correlation.simulate import NOWS

FLAPPERS = 0.25  # checks that flap, in a mesh
_NOTHING = Past(((1.0,) * BINS,) * len(SHARES), (1.0,) * BINS, 1.0)
_FAR = log(0.02)  # a manner that is that much less likely is not thought of
_FEW = 0.04  # ... when it is asked for restarts
_USUAL_S = 10.0  # between the looks of a check


class Way(NamedTuple):
    """One manner that a check may have."""

    chance: float
    manner: Manner
    pasts: tuple[Past, ...]  # by unit


@dataclass(frozen=True, eq=False)
class Sight:
    """One check of a service."""

    name: str
    own: float
    deps: float
    ways: tuple[Way, ...]

    @cached_property
    def felt(self) -> list[list[float]]:
        """By share of the looks that fail, and last if it got well by itself, by age: if the service suffers."""
        return [
            self._felt([past.ill[q] for past in way.pasts] for way in self.ways) for q in range(len(SHARES))
        ] + [self._felt([past.ended for past in way.pasts] for way in self.ways)]

    def _felt(self, told: Iterable[Sequence[Sequence[float]]]) -> list[float]:
        found = [1 - self.deps] * BINS
        for way, units in zip(self.ways, told, strict=True):
            p = self.deps * way.chance
            for age, each in enumerate(zip(*units, strict=True)):
                found[age] += p * prod([1 - UNIT_SUFFERS + UNIT_SUFFERS * x for x in each])
        return found


@lru_cache(maxsize=256)
def _silent(kind: Kind, units: int) -> Sight:
    ways = tuple(Way(p, manner, (silent(manner),) * units) for manner, p in kind.manners)
    return Sight(kind.name, kind.own, kind.deps, ways)


class Kits:
    def __init__(self, heard: Heard, belief: Belief) -> None:
        self.heard, self.belief = heard, belief
        self.flapper = FLAPPERS / belief.checks()
        self.rate = max(belief.rates, key=self._fits)
        self._known: dict[str, list[tuple[float, list[Sight]]]] = {}

    def _fits(self, rate: float) -> float:
        """Log: how likely it is that as many checks came and went before the fault, if blips are as frequent."""
        length = NOISE_S + fmean(NOWS) - WINDOW_S
        due = rate * self.belief.checks() * length * (1 - spoils(_USUAL_S)[0])
        return self.heard.gone * log(due) - due

    def of(self, service: str) -> list[tuple[float, list[Sight]]]:
        """With their chances, if there is nothing but noise."""
        if (found := self._known.get(service)) is None:
            found = self._known[service] = self._weighed(service)
        return found

    def _weighed(self, service: str) -> list[tuple[float, list[Sight]]]:
        names = self.heard.names.get(service, set())
        kits = [(kinds, p) for kinds, p in self.belief.kits[service] if names <= {k.name for k in kinds}]
        sights = {kind: self._sight(service, kind) for kinds, _ in kits for kind in kinds}
        logs = [log(p) + sum(sights[kind][1] for kind in kinds) for kinds, p in kits]
        best = max(logs)
        total = sum(exp(x - best) for x in logs)
        return [
            (exp(x - best) / total, [sights[kind][0] for kind in kinds])
            for (kinds, _), x in zip(kits, logs, strict=True)
        ]

    def _sight(self, service: str, kind: Kind) -> tuple[Sight, float]:
        """And the log of how likely it is that it says what it does."""
        units = self.belief.units[service]
        told = [flips for unit in units if (flips := self.heard.flips.get((unit, kind.name)))]
        if not told and not any(self.heard.mute(unit, kind.name) for unit in units):
            return _silent(kind, len(units)), 0.0
        logs = {
            manner: log(p) + sum(self._log(flips, manner) for flips in told)
            for manner, p in self._timely(kind, told)
        }
        best = max(logs.values())
        odds = {manner: exp(x - best) for manner, x in logs.items() if x > best + _FAR}
        total = sum(odds.values())
        ways = [
            Way(p / total, manner, tuple(self._past(unit, kind.name, manner) for unit in units))
            for manner, p in odds.items()
        ]
        return Sight(kind.name, kind.own, kind.deps, tuple(ways)), best + log(total)

    def _timely(self, kind: Kind, told: Sequence[Flips]) -> list[tuple[Manner, float]]:
        """Manners that look when flips came, about."""
        every = {manner.every_s for manner, _ in kind.manners}
        logs = {every_s: sum(timing(flips, every_s, self.heard.now) for flips in told) for every_s in every}
        best = max(logs.values())
        return [(manner, p) for manner, p in kind.manners if logs[manner.every_s] > best + _FAR]

    def _log(self, flips: Flips, manner: Manner) -> float:
        """When it looks first is not known; flips come together where one is late."""
        told = self._look(flips, manner)
        return log(told.noise(self.flapper)) + told.missed * log(LATE / manner.every_s) - log(manner.every_s)

    def _look(self, flips: Flips, manner: Manner) -> Look:
        ago = [at - self.heard.now for at, _ in flips]
        if len(ago) == 1 and self.belief.stranger:  # to the second, so that it is known from other cases
            ago = [float(round(ago[0]))]
        return look(manner, tuple(zip(ago, (bad for _, bad in flips), strict=True)), 0.0, self.rate)

    def _past(self, unit: str, name: str, manner: Manner) -> Past:
        if self.heard.mute(unit, name):
            return _NOTHING
        flips = self.heard.flips.get((unit, name))
        return self._look(flips, manner).past(self.flapper) if flips else silent(manner)

    def flappers(self) -> list[float]:
        """Of each check that was heard: that it flaps, to blips alone."""
        found = []
        for unit, name in self.heard.flips:
            service = self.belief.topology["instances"][unit]
            n = self.belief.units[service].index(unit)
            sight = next(s for _, sights in self.of(service) for s in sights if s.name == name)
            found.append(sum(way.chance * way.pasts[n].flapper for way in sight.ways))
        return found

    def briefs(self, service: str) -> Sequence[Sequence[Brief]]:
        """By unit and check."""
        _, sights = max(self.of(service), key=lambda kit: kit[0])
        return [[self._brief(unit, sight) for sight in sights] for unit in self.belief.units[service]]

    def _brief(self, unit: str, sight: Sight) -> Brief:
        flips = self.heard.flips.get((unit, sight.name), ())
        looks = [(way.chance, self._look(flips, way.manner)) for way in sight.ways if way.chance > _FEW]
        noise = [(chance / x.noise(self.flapper), x) for chance, x in looks]
        return lambda age_s, length_s: min(sum([p * x.brief(age_s, length_s) for p, x in noise]), 1e9)
