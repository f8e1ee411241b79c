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
from functools import lru_cache
from itertools import accumulate, pairwise
from math import exp, log
from statistics import fmean
from typing import NamedTuple

from bench.correlation.oracle.belief import Belief, Call
from bench.correlation.oracle.evidence import Evidence
from bench.correlation.oracle.looks import BIN_S, BINS

_DEEP = 2  # calls above a broken service that are summed where nothing fails
_LOW, _HIGH = -2.5, 5.0  # log: no leaning beyond these
_ROUNDS = 4


def _steps(delay_s: float) -> list[float]:
    """How often a delay of this mean is so many steps of age."""
    ends = [0.0, *(BIN_S * (k + 0.5) for k in range(BINS))]
    return [exp(-a / delay_s) - exp(-b / delay_s) for a, b in pairwise(ends)]


_STEPS = [_steps(max(half, 1) / 2) for half in range(31)]  # by twice the mean


@lru_cache(maxsize=4096)
def _of(delays: tuple[float, ...]) -> list[float]:
    return [fmean(told) for told in zip(*(_STEPS[round(2 * mean)] for mean in delays), strict=True)]


Source = tuple[str, int, float]  # service, age, how much callers feel of it


class Drawn(NamedTuple):
    weight: float  # log
    ill: dict[str, int]  # age
    strangers: set[tuple[str, str]]  # calls that nobody shows, and that carried it on


class _Turn(NamedTuple):
    """What a caller may do when what it calls is ill."""

    total: float  # log
    sums: list[float]
    ages: list[int]  # -1: it does not suffer
    leant: list[float]  # log: what the draw has in it


class Spread:
    def __init__(self, evidence: Evidence, dice: random.Random) -> None:
        self.evidence, self.dice, self.belief = evidence, dice, evidence.belief
        self.near = self._near()
        self.callers = {s: [c for c in self.belief.callers.get(s, ()) if c in self.near] for s in self.near}
        self.strangers = {s: self._strangers(s) for s in self.near}
        self.above = self._above()
        self._turns: dict[tuple[str, str, int, float], _Turn] = {}
        self._calm: dict[tuple[str, int, float], float] = {}

    def _near(self) -> set[str]:
        """Services of which something was heard, and all that they need."""
        needs = _needs(self.belief)
        found = set(self.evidence.noisy)
        ring = list(found)
        while ring:
            ring = sorted({d for s in ring for d in needs.get(s, ())} - found)
            found.update(ring)
        return found

    def _strangers(self, service: str) -> list[str]:
        """Who of those that were heard may call it without our knowing."""
        if self.belief.stranger is None:
            return []
        known = self.belief.calls
        return [c for c in sorted(self.evidence.noisy) if c != service and (c, service) not in known]

    def _above(self) -> dict[str, float]:
        """Log: how well what is above each fits its suffering, about."""
        found = dict.fromkeys(self.near, 0.0)
        for _ in range(_ROUNDS):
            new = {}
            for service in self.near:
                total = 0.0
                for caller in self.callers[service]:
                    p = self.belief.calls[caller, service].chance
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
        drawn, waits, weight = Drawn(0.0, {}, set()), dict[str, int](), 0.0
        while heap:
            minus, service, share = heapq.heappop(heap)
            if service in drawn.ill:
                continue
            age = drawn.ill[service] = -minus
            if service not in roots:
                weight += log(self.evidence.suffers(service)[age])
            weight += self._quiet(service, age, share)
            for caller in (*self.callers.get(service, ()), *self.strangers.get(service, ())):
                if caller in drawn.ill or caller in roots:
                    continue
                if caller in waits:
                    then, more = self._later(caller, service, age, share), 0.0
                else:
                    then, more = self._leant(caller, service, age, share)
                weight += more
                if then >= 0 and then > waits.get(caller, -1):
                    waits[caller] = then
                    heapq.heappush(heap, (-then, caller, 1.0))
                    if (caller, service) not in self.belief.calls:
                        drawn.strangers.add((caller, service))
        return drawn._replace(weight=weight)

    def _call(self, caller: str, callee: str) -> Call:
        found = self.belief.calls.get((caller, callee), self.belief.stranger)
        assert found is not None
        return found

    def _later(self, caller: str, callee: str, age: int, share: float) -> int:
        """One more reason to suffer."""
        call = self._call(caller, callee)
        if self.dice.random() >= call.chance * share:
            return -1
        return age - round(self.dice.expovariate(1 / self.dice.choice(call.delays)) / BIN_S)

    def _leant(self, caller: str, callee: str, age: int, share: float) -> tuple[int, float]:
        """Since when it suffers, and what takes the leaning back."""
        turn = self._turn(caller, callee, age, share)
        n = bisect(turn.sums, self.dice.random() * turn.sums[-1])
        n = min(n, len(turn.ages) - 1)
        return turn.ages[n], turn.total - turn.leant[n]

    def _turn(self, caller: str, callee: str, age: int, share: float) -> _Turn:
        call = self._call(caller, callee)
        key = (caller, "" if call is self.belief.stranger else callee, age, share)
        if (found := self._turns.get(key)) is None:
            p, steps = call.chance * share, _of(call.delays)
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
            for caller in self.belief.callers.get(service, ()):
                if caller not in self.near:
                    found += _still(self.evidence, caller, service, age, share, _DEEP)
            self._calm[key] = found
        return found


_known: dict[tuple[int, str, str, int, float, int], float] = {}
_lows: dict[int, tuple[Belief, dict[str, list[str]]]] = {}  # kept with the belief, so that no other gets its id


def _needs(belief: Belief) -> dict[str, list[str]]:
    if id(belief) not in _lows:
        found: dict[str, list[str]] = {}
        _lows[id(belief)] = belief, found
        for caller, callee in belief.calls:
            found.setdefault(caller, []).append(callee)
    return _lows[id(belief)][1]


def _still(evidence: Evidence, caller: str, callee: str, age: int, share: float, deep: int) -> float:
    """Log: that a caller stands, and those above it."""
    key = (id(evidence.belief), caller, callee, age, share, deep)
    if (found := _known.get(key)) is None:
        belief = evidence.belief
        call = belief.calls[caller, callee]
        p, steps = call.chance * share, _of(call.delays)
        own, late, fits, more = evidence.suffers(caller), 1.0, 0.0, 1.0
        if deep > 1:
            then = max(age - round(fmean(call.delays) / BIN_S), 0)
            above = belief.callers.get(caller, ())
            more = exp(sum(_still(evidence, c, caller, then, 1.0, deep - 1) for c in above))
        for k in range(age + 1):
            if steps[k] < 1e-4:
                break
            late -= steps[k]
            fits += steps[k] * own[age - k] * more
        found = _known[key] = log(1 - p + p * (fits + max(late, 0.0)))
    return found
