"""What the checks of a service say of it being broken, or suffering, for so long: ratios to nothing but noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product
from math import prod

from bench.correlation.faults import ON_SICK, PARTIAL, RECOVERS, UNIT_SUFFERS
from bench.correlation.oracle.deploys import deployed
from bench.correlation.oracle.looks import BINS, SHARES, WINDOW_S, Look, Past, manner_of, silent
from bench.correlation.simulate import Case
from bench.correlation.world import Check

OWN = (0.73, 0.1, 0.1, 0.07)  # how often a root fails so many of its looks, see SHARES
SICK = (0.12, 0.38, 0.38, 0.12)  # ... a unit on a sick node
SUFFERS = (0.1, 0.3, 0.3, 0.3)  # ... a victim
FLAPPERS = 0.25  # checks that flap, in a mesh
DEPLOYS = 0.08  # services that are being deployed
_LEAST = 1e-12
_NOTHING = Past(((1.0,) * BINS,) * len(SHARES), (1.0,) * BINS, 1.0)

By = Sequence[float]  # by age


class Evidence:
    """Of one case."""

    def __init__(self, case: Case) -> None:
        assert case.world is not None
        self.world, self.now = case.world, case.now
        self.failing: dict[str, float] = {}  # unit -> how long ago it last turned bad, of those that are
        self.noisy: set[str] = set()  # services of which something was heard lately
        self.serf = {e["node"]: e["t"] for e in case.events if e["check"] == "serfHealth" and e["t"] <= self.now}
        self.planned: set[str] = set()  # units
        self.looks: dict[tuple[str, int], Look] = {}
        self.count = sum(len(self.world.checks[s]) * len(units) for s, units in self.world.units.items())
        self._told = self._read(case)
        self.deploys = {s: self._deploy(s) for s in sorted(self.noisy)}  # to blips alone
        self._suffers: dict[str, By] = {}
        self._roots: dict[tuple[str, int], tuple[float, float]] = {}

    def _read(self, case: Case) -> dict[tuple[str, int], Past]:
        flips: dict[tuple[str, str], list[tuple[float, bool]]] = {}
        planned = self.planned
        for event in sorted(case.events, key=lambda e: e["t"]):
            if event["check"].startswith("_node_maintenance"):
                planned.update(self.world.hosted[event["node"]])
            elif event["check"].startswith("_service_maintenance"):
                planned.add(event["instance"])
            elif event["instance"] and event["t"] <= self.now:
                bad = event["status"] != "passing"
                flips.setdefault((event["instance"], event["check"]), []).append((event["t"], bad))
        told = {(i, n): _NOTHING for i in planned for n in range(4)}
        for (instance, name), seen in flips.items():
            service = self.world.topology["instances"][instance]
            n = [c.name for c in self.world.checks[service]].index(name)
            if instance in planned:
                continue
            if seen[-1][1] and seen[-1][0] < self.now - WINDOW_S:  # it shows nothing new
                told[instance, n] = _NOTHING
            elif seen[-1][0] >= self.now - WINDOW_S:
                manner = manner_of(self.world.checks[service][n])
                look = Look(manner, seen, self.now, self.world.noise_rate, FLAPPERS / self.count)
                told[instance, n], self.looks[instance, n] = look.past(), look
                self.noisy.add(service)
                if seen[-1][1]:
                    age = self.now - seen[-1][0]
                    self.failing[instance] = min(age, self.failing.get(instance, age))
        return told

    def _deploy(self, service: str) -> float:
        checks, units = self.world.checks[service], self.world.units[service]
        if any(u in self.planned for u in units):
            return 0.0
        rate = self.world.noise_rate
        return deployed(
            [
                [
                    self.looks.get((u, n)) or Look(manner_of(c), (), self.now - self.now % 1.0, rate, 0.0)
                    for n, c in enumerate(checks)
                ]
                for u in units
            ]
        )

    def _excuse(self, service: str) -> float:
        """How much likelier it is for deploys, if nothing is broken."""
        if service not in self.deploys:
            return 1.0
        return 1 + DEPLOYS / len(self.world.units) * (self.deploys[service] - 1)

    def past(self, unit: str, n: int, check: Check) -> Past:
        return self._told.get((unit, n)) or silent(manner_of(check))

    def suffers(self, service: str) -> By:
        """If something it needs is broken."""
        if (found := self._suffers.get(service)) is None:
            found = self._suffers[service] = self._victim(service)
        return found

    def _victim(self, service: str) -> By:
        checks, units = self.world.checks[service], self.world.units[service]
        if not checks:
            return (1.0,) * BINS
        key = (tuple(map(manner_of, checks)), tuple(c.deps for c in checks), len(units))
        heard = any((u, n) in self._told for u in units for n in range(len(checks)))
        if not heard and key in _quiet:
            return _quiet[key]
        pasts = [(c.deps, [self.past(u, n, c) for u in units]) for n, c in enumerate(checks)]
        told = [_suffers(pasts, age) for age in range(BINS)]
        # its checks see it half a step later, on average
        found = [max((a + b) / 2 / self._excuse(service), _LEAST) for a, b in pairwise([told[0], *told])]
        if not heard:
            _quiet[key] = found
        return found

    def root(self, service: str, age: int) -> tuple[float, float]:
        """If it is at fault and shows it: all of it, one of its units. Each with its chance."""
        if (found := self._roots.get((service, age))) is None:
            found = self._roots[service, age] = self._root(service, age)
        return found

    def _root(self, service: str, age: int) -> tuple[float, float]:
        checks, units = self.world.checks[service], self.world.units[service]
        since = age * 3.0
        shows = {u for u in units if self.failing.get(u, 1e9) <= since + 1.0}
        if not checks or not shows:
            return 0.0, 0.0
        full = some = 0.0
        for seen, chance in _sights([c.own for c in checks]):
            for q, weight in enumerate(OWN):
                each = {u: prod(self.past(u, n, checks[n]).ill[q][age] for n in seen) for u in units}
                full += chance * weight * prod(each.values())
                some += chance * weight * sum(each[u] for u in shows) / len(units)
        excuse = self._excuse(service)
        return (1 - PARTIAL) * full / excuse, PARTIAL * some / excuse

    def nothing(self) -> float:
        """What goes on where nothing is at fault, to what goes on beside a fault."""
        flaps = FLAPPERS / self.count
        flapping = 1.0
        for past in self._told.values():
            flapping *= (1 + 10 * flaps * (past.flapper - 1)) / (1 + flaps * (past.flapper - 1))
        calm = prod(self._excuse(s) for s in self.deploys)
        deploys = sum(self.deploys.values()) / len(self.world.units) / calm
        if self.planned:
            return (1 + (1 + flapping + deploys) * 0.05) / 4 / 0.05
        return (1 + flapping + deploys) / 4 / 0.95

    def sick(self, unit: str, age: int) -> float:
        """If its node is."""
        service = self.world.topology["instances"][unit]
        checks = self.world.checks[service]
        pasts = [self.past(unit, n, c) for n, c in enumerate(checks)]
        found = sum(
            weight * prod(c.own * p.ill[q][age] + 1 - c.own for c, p in zip(checks, pasts, strict=True))
            for q, weight in enumerate(SICK)
        )
        return ON_SICK * found + 1 - ON_SICK


_quiet: dict[object, By] = {}  # of services of which nothing was heard


def _suffers(pasts: Sequence[tuple[float, Sequence[Past]]], age: int) -> float:
    """By check how often it sees that, and what it says at each unit. A few victims get well by themselves."""

    def all_of(told: Callable[[Past], float]) -> float:
        return prod(
            deps * prod(1 - UNIT_SUFFERS + UNIT_SUFFERS * told(past) for past in units) + 1 - deps
            for deps, units in pasts
        )

    stays = sum(weight * all_of(lambda past, q=q: past.ill[q][age]) for q, weight in enumerate(SUFFERS))  # type: ignore[misc]
    return (1 - RECOVERS) * stays + RECOVERS * all_of(lambda past: past.ended[age])


def _sights(own: Sequence[float]) -> list[tuple[list[int], float]]:
    """Which of its checks see a fault that at least one sees, with their chances."""
    found = []
    for which in product((True, False), repeat=len(own)):
        chance = prod(p if sees else 1 - p for p, sees in zip(own, which, strict=True))
        seen = [n for n, sees in enumerate(which) if sees] or [max(range(len(own)), key=lambda n: own[n])]
        found.append((seen, chance))
    return found
