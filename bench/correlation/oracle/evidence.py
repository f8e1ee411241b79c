"""What the checks of a service say of it being broken, or suffering, for so long: ratios to nothing but noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from math import prod

from bench.correlation.faults import ON_SICK, PARTIAL
from bench.correlation.oracle.belief import UNCHECKED, Belief
from bench.correlation.oracle.deploys import deployed
from bench.correlation.oracle.heard import Heard
from bench.correlation.oracle.kits import Kits, Sight
from bench.correlation.oracle.looks import BINS
from bench.correlation.simulate import Case

DEPLOYS = 0.08  # services that are being deployed
_LEAST = 1e-12

By = Sequence[float]  # by age


class Evidence:
    """Of one case."""

    def __init__(self, case: Case, belief: Belief) -> None:
        self.belief, self.heard = belief, Heard(case, belief)
        self.kits = Kits(self.heard, belief)
        self.failing, self.noisy = self.heard.failing, self.heard.noisy
        self.deploys = {s: self._deploy(s) for s in sorted(self.noisy)}  # to blips alone
        self._suffers: dict[str, By] = {}
        self._sick: dict[tuple[object, ...], float] = {}
        self._roots: dict[tuple[str, int], tuple[float, float]] = {}

    def fails(self, service: str) -> bool:
        return any(unit in self.failing for unit in self.belief.units[service])

    def _deploy(self, service: str) -> float:
        if not self.heard.restarted(self.belief.units[service]):
            return 0.0
        return deployed(self.kits.briefs(service))

    def _excuse(self, service: str) -> float:
        """How much likelier it is for deploys, if nothing is broken."""
        if service not in self.deploys:
            return 1.0
        return 1 + DEPLOYS / len(self.belief.units) * (self.deploys[service] - 1)

    def quiet(self, service: str) -> bool:
        """Nothing was heard of it."""
        return service not in self.heard.names and not self.heard.planned.intersection(self.belief.units[service])

    def suffers(self, service: str) -> By:
        """If something it needs is broken."""
        if (found := self._suffers.get(service)) is None:
            found = self._suffers[service] = self._victim(service)
        return found

    def _victim(self, service: str) -> By:
        kits, told = self.belief.kits[service], self.belief.told
        if kits == UNCHECKED:
            return (1.0,) * BINS
        key = kits, told, len(self.belief.units[service])
        quiet = self.quiet(service)
        if quiet and key in _quiet:
            return _quiet[key]
        found = [0.0] * BINS
        for chance, sights in self.kits.of(service):
            found = [a + chance * b for a, b in zip(found, _suffers(sights, told.suffers), strict=True)]
        # its checks see it half a step later, on average
        found = [max((a + b) / 2 / self._excuse(service), _LEAST) for a, b in pairwise([found[0], *found])]
        if quiet:
            _quiet[key] = found
        return found

    def root(self, service: str, age: int) -> tuple[float, float]:
        """If it is at fault and shows it: all of it, one of its units. Each with its chance."""
        if (found := self._roots.get((service, age))) is None:
            found = self._roots[service, age] = self._root(service, age)
        return found

    def _root(self, service: str, age: int) -> tuple[float, float]:
        units = self.belief.units[service]
        since = age * 3.0
        shows = [n for n, u in enumerate(units) if self.failing.get(u, 1e9) <= since + 1.0]
        if not shows:
            return 0.0, 0.0
        full = some = 0.0
        for kit, sights in self.kits.of(service):
            for seen, chance in _sights(sights):
                for q, weight in enumerate(self.belief.told.own):
                    p = kit * chance * weight
                    full += p * prod(_all(sight, q, age) for sight in seen)
                    some += p * sum(prod(_one(sight, n, q, age) for sight in seen) for n in shows) / len(units)
        excuse = self._excuse(service)
        return (1 - PARTIAL) * full / excuse, PARTIAL * some / excuse

    def nothing(self) -> float:
        """What goes on where nothing is at fault, to what goes on beside a fault."""
        flaps = self.kits.flapper
        flapping = 1.0
        for ratio in self.kits.flappers():
            flapping *= (1 + 10 * flaps * (ratio - 1)) / (1 + flaps * (ratio - 1))
        calm = prod(self._excuse(s) for s in self.deploys)
        deploys = sum(self.deploys.values()) / len(self.belief.units) / calm
        if self.heard.planned:
            return (1 + (1 + flapping + deploys) * 0.05) / 4 / 0.05
        return (1 + flapping + deploys) / 4 / 0.95

    def sick(self, unit: str, age: int) -> float:
        """If its node is."""
        service = self.belief.topology["instances"][unit]
        known, key = self._sick, (unit, age)
        if self.quiet(service):
            known, key = _calm, (self.belief.kits[service], self.belief.told, age)
        if (found := known.get(key)) is None:
            found = known[key] = self._ground(service, unit, age)
        return found

    def _ground(self, service: str, unit: str, age: int) -> float:
        n = self.belief.units[service].index(unit)
        found = sum(
            kit * weight * prod(s.own * _one(s, n, q, age) + 1 - s.own for s in sights)
            for kit, sights in self.kits.of(service)
            for q, weight in enumerate(self.belief.told.sick)
        )
        return ON_SICK * found + 1 - ON_SICK


_quiet: dict[object, By] = {}  # of services of which nothing was heard
_calm: dict[tuple[object, ...], float] = {}  # ... of their units


def _all(sight: Sight, q: int, age: int) -> float:
    return sum([way.chance * prod([past.ill[q][age] for past in way.pasts]) for way in sight.ways])


def _one(sight: Sight, n: int, q: int, age: int) -> float:
    return sum([way.chance * way.pasts[n].ill[q][age] for way in sight.ways])


def _suffers(sights: Sequence[Sight], shares: Sequence[float]) -> By:
    """By check how often it sees that, and what it says at each unit. A few victims get well by themselves."""
    found = [0.0] * BINS
    for q, weight in enumerate(shares):
        told = zip(*(sight.felt[q] for sight in sights), strict=True)
        found = [a + weight * prod(each) for a, each in zip(found, told, strict=True)]
    return found


def _sights(sights: Sequence[Sight]) -> list[tuple[list[Sight], float]]:
    """Which of its checks see a fault that at least one sees, with their chances."""
    found = []
    for which in product((True, False), repeat=len(sights)):
        chance = prod(s.own if sees else 1 - s.own for s, sees in zip(sights, which, strict=True))
        seen = [s for s, sees in zip(sights, which, strict=True) if sees] or [max(sights, key=lambda s: s.own)]
        found.append((seen, chance))
    return found
