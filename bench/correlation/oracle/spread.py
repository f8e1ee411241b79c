"""How well what the callers' checks say fits a fault: the bench's own spreading, drawn many times.

Each draw leans towards what is seen and its weight takes that back (importance sampling), so the mean of the
weights is P(seen | fault) / P(seen | nothing but noise) whatever the leaning; a bad one only needs more draws.
Callers above which nothing fails are not drawn but summed.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import exp, log
from typing import NamedTuple

from bench.correlation.oracle.evidence import Evidence
from bench.correlation.oracle.looks import BIN_S, BINS
from bench.correlation.world import World

_DEEP = 2  # calls above a broken service that are summed where nothing fails
_LOW, _HIGH = -2.5, 5.0  # log: no leaning beyond these
_ROUNDS = 4


def _steps(delay_s: float) -> list[float]:
    """How often a delay of this mean is so many steps of age."""
    ends = [0.0, *(BIN_S * (k + 0.5) for k in range(BINS))]
    return [exp(-a / delay_s) - exp(-b / delay_s) for a, b in pairwise(ends)]


_STEPS = [_steps(max(half, 1) / 2) for half in range(31)]  # by twice the mean

Source = tuple[str, int, float]  # service, age, how much callers feel of it


class Drawn(NamedTuple):
    weight: float  # log
    ill: dict[str, int]  # age


class _Turn(NamedTuple):
    """What a caller may do when what it calls is ill."""

    total: float  # log
    sums: list[float]
    ages: list[int]  # -1: it does not suffer
    leant: list[float]  # log: what the draw has in it


class Spread:
    def __init__(self, evidence: Evidence, dice: random.Random) -> None:
        self.evidence, self.dice, self.world = evidence, dice, evidence.world
        self.near = self._near()
        self.callers = {s: [c for c in self.world.callers.get(s, ()) if c in self.near] for s in self.near}
        self.above = self._above()
        self._turns: dict[tuple[str, str, int, float], _Turn] = {}
        self._calm: dict[tuple[str, int, float], float] = {}

    def _near(self) -> set[str]:
        """Services of which something was heard, and all that they need."""
        needs = _needs(self.evidence)
        found = set(self.evidence.noisy)
        ring = list(found)
        while ring:
            ring = sorted({d for s in ring for d in needs.get(s, ())} - found)
            found.update(ring)
        return found

    def _above(self) -> dict[str, float]:
        """Log: how well what is above each fits its suffering, about."""
        found = dict.fromkeys(self.near, 0.0)
        for _ in range(_ROUNDS):
            new = {}
            for service in self.near:
                total = 0.0
                for caller in self.callers[service]:
                    p = self.world.edges[caller, service].strength
                    own = self.evidence.suffers(caller)
                    fits = log(sum(own[:40]) / 40) + found[caller]
                    total += log(1 - p + p * exp(min(max(fits, -6.0), 12.0)))
                new[service] = min(max(total, _LOW), _HIGH)
            found = new
        return found

    def draw(self, sources: Sequence[Source]) -> Drawn:
        heap = [(-age, service, share) for service, age, share in sources]
        heapq.heapify(heap)
        roots = {service for service, _, _ in sources}
        weight, done, waits = 0.0, {}, {}
        while heap:
            minus, service, share = heapq.heappop(heap)
            if service in done:
                continue
            age = -minus
            done[service] = age
            if service not in roots:
                weight += log(self.evidence.suffers(service)[age])
            weight += self._quiet(service, age, share)
            for caller in self.callers.get(service, ()):
                if caller in done or caller in roots:
                    continue
                if caller in waits:
                    then = self._chance(caller, service, age, share)
                    if then > waits[caller]:
                        waits[caller] = then
                        heapq.heappush(heap, (-then, caller, 1.0))
                    continue
                turn = self._turn(caller, service, age, share)
                n = bisect(turn.sums, self.dice.random() * turn.sums[-1])
                n = min(n, len(turn.ages) - 1)
                weight += turn.total - turn.leant[n]
                if turn.ages[n] >= 0:
                    waits[caller] = turn.ages[n]
                    heapq.heappush(heap, (-turn.ages[n], caller, 1.0))
        return Drawn(weight, done)

    def _chance(self, caller: str, callee: str, age: int, share: float) -> int:
        edge = self.world.edges[caller, callee]
        if self.dice.random() >= edge.strength * share:
            return -1
        return age - round(self.dice.expovariate(1 / edge.delay_s) / BIN_S)

    def _turn(self, caller: str, callee: str, age: int, share: float) -> _Turn:
        key = (caller, callee, age, share)
        if (found := self._turns.get(key)) is None:
            edge = self.world.edges[caller, callee]
            p, steps = edge.strength * share, _STEPS[round(2 * edge.delay_s)]
            own, more = self.evidence.suffers(caller), exp(self.above[caller])
            ages, odds, leant, late = [], [], [], 1.0
            for k in range(age + 1):
                lean = min(own[age - k] * more, 1e9)
                ages.append(age - k)
                odds.append(p * steps[k] * lean)
                leant.append(log(lean))
                late -= steps[k]
            ages.append(-1)
            odds.append(1 - p + p * max(late, 0.0))
            leant.append(0.0)
            found = self._turns[key] = _Turn(log(sum(odds)), list(accumulate(odds)), ages, leant)
        return found

    def _quiet(self, service: str, age: int, share: float) -> float:
        """Log: what the callers say that stand and have nothing failing above them."""
        key = (service, age, share)
        if (found := self._calm.get(key)) is None:
            found = 0.0
            for caller in self.world.callers.get(service, ()):
                if caller not in self.near:
                    found += _still(self.evidence, caller, service, age, share, _DEEP)
            self._calm[key] = found
        return found


_known: dict[tuple[int, str, str, int, float, int], float] = {}
_lows: dict[int, tuple[World, dict[str, list[str]]]] = {}  # kept with the world, so that no other gets its id


def _needs(evidence: Evidence) -> dict[str, list[str]]:
    world = evidence.world
    if id(world) not in _lows:
        found: dict[str, list[str]] = {}
        _lows[id(world)] = world, found
        for caller, callee in world.edges:
            found.setdefault(caller, []).append(callee)
    return _lows[id(world)][1]


def _still(evidence: Evidence, caller: str, callee: str, age: int, share: float, deep: int) -> float:
    """Log: that a caller stands, and those above it."""
    key = (id(evidence.world), caller, callee, age, share, deep)
    if (found := _known.get(key)) is None:
        world = evidence.world
        edge = world.edges[caller, callee]
        p, steps = edge.strength * share, _STEPS[round(2 * edge.delay_s)]
        own, late, fits, more = evidence.suffers(caller), 1.0, 0.0, 1.0
        if deep > 1:
            then = max(age - round(edge.delay_s / BIN_S), 0)
            above = world.callers.get(caller, ())
            more = exp(sum(_still(evidence, c, caller, then, 1.0, deep - 1) for c in above))
        for k in range(age + 1):
            if steps[k] < 1e-4:
                break
            late -= steps[k]
            fits += steps[k] * own[age - k] * more
        found = _known[key] = log(1 - p + p * (fits + max(late, 0.0)))
    return found
