"""How well what the callers' checks say fits a fault: the bench's own spreading, drawn many times.

Each draw leans towards what is seen and its weight takes that back (importance sampling), so the mean of the
weights is P(seen | fault) / P(seen | nothing but noise) whatever the leaning; a bad one only needs more draws.
Callers above which nothing fails are not drawn but summed.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from math import exp, log
from operator import mul
from statistics import fmean
from typing import NamedTuple

from bench.correlation.oracle.belief import Belief, Call
from bench.correlation.oracle.evidence import Evidence
from bench.correlation.oracle.looks import BIN_S, BINS

_DEEP = 2  # calls above a broken service that are summed where nothing fails
_LOW, _HIGH = -2.5, 8.0  # log: no leaning beyond these
_ROUNDS = 4
_SELDOM = 1e-4  # a delay is not thought of


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


@dataclass(slots=True)
class _Drawing:
    heap: list[tuple[int, str, float]]
    roots: set[str] = field(init=False)
    weight: float = 0.0
    ill: dict[str, int] = field(default_factory=dict)
    waits: dict[str, int] = field(default_factory=dict)
    strangers: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.roots = {service for _, service, _ in self.heap}

    def wait(self, caller: str, age: int) -> None:
        if age >= 0 and age > self.waits.get(caller, -1):
            self.waits[caller] = age
            heapq.heappush(self.heap, (-age, caller, 1.0))


class _Turn(NamedTuple):
    """What a caller may do when what it calls is ill."""

    total: float  # log
    sums: list[float]
    ages: list[int]  # -1: it does not suffer
    leant: list[float]  # what the draw has in it


class Spread:
    def __init__(self, evidence: Evidence, dice: random.Random) -> None:
        self.evidence, self.dice, self.belief = evidence, dice, evidence.belief
        self.near = self._near()
        self.callers = {s: [c for c in self.belief.callers.get(s, ()) if c in self.near] for s in self.near}
        self.needs = {s: len(self.near.intersection(_needs(self.belief).get(s, ()))) for s in self.near}
        self.above = self._above()
        self.fits = {s: list(map(mul, evidence.suffers(s), self.above[s])) for s in self.near}
        self.strangers = sorted(evidence.noisy, key=lambda s: (-max(self.above[s]), s))
        self._turns: dict[tuple[str, str, int, float, int], _Turn] = {}
        self._calm: dict[tuple[str, int, float], float] = {}
        self._stands = _known if evidence.heard.usual() else {}

    def _near(self) -> set[str]:
        """Services of which something was heard, and all that they need."""
        needs = _needs(self.belief)
        found = set(self.evidence.noisy)
        ring = list(found)
        while ring:
            ring = sorted({d for s in ring for d in needs.get(s, ())} - found)
            found.update(ring)
        return found

    def _above(self) -> dict[str, list[float]]:
        """By age: how well what is above each fits its suffering, about."""
        found = {s: [1.0] * BINS for s in self.near}
        changed = self.near
        for _ in range(_ROUNDS):
            new = {s: self._over(s, found) for s in self.near if not changed.isdisjoint(self.callers[s])}
            changed = {s for s, above in new.items() if above != found[s]}
            found |= new
        return found

    def _over(self, service: str, above: Mapping[str, Sequence[float]]) -> list[float]:
        total = [0.0] * BINS
        for caller in self.callers[service]:
            call = self.belief.calls[caller, service]
            steps, fades = _of(call.delays), exp(-BIN_S / fmean(call.delays))
            share = 1 / self.needs[caller] ** 2  # one of what it needs is enough to explain it
            fits, sooner, late = 0.0, 0.0, 1.0
            for age, (own, more) in enumerate(zip(self.evidence.suffers(caller), above[caller], strict=True)):
                sooner = steps[1] * fits + fades * sooner
                fits = own * more
                late -= steps[age]
                told = steps[0] * fits + sooner + max(late, 0.0)
                total[age] += log(1 - call.chance + call.chance * told) * share
        return [exp(min(max(x, _LOW), _HIGH)) for x in total]

    def draw(self, sources: Sequence[Source]) -> Drawn:
        drawn = _Drawing([(-age, service, share) for service, age, share in sources])
        heapq.heapify(drawn.heap)
        self._along(drawn)
        if self.belief.stranger and drawn.ill:
            for caller in self.strangers:
                if caller not in drawn.ill:
                    self._strange(drawn, caller, self.belief.stranger)
                    self._along(drawn)
        return Drawn(drawn.weight, drawn.ill, drawn.strangers)

    def _along(self, drawn: _Drawing) -> None:
        """The calls that are known."""
        while drawn.heap:
            minus, service, share = heapq.heappop(drawn.heap)
            if service in drawn.ill:
                continue
            age = drawn.ill[service] = -minus
            if service not in drawn.roots:
                drawn.weight += log(self.evidence.suffers(service)[age])
            drawn.weight += self._quiet(service, age, share)
            for caller in self.callers.get(service, ()):
                if caller in drawn.ill or caller in drawn.roots:
                    continue
                call = self.belief.calls[caller, service]
                drawn.wait(caller, self._leant(drawn, (caller, service), call, age, share))

    def _strange(self, drawn: _Drawing, caller: str, call: Call) -> None:
        """It may call one of those that are ill without our knowing. Taken up last, as that is seldom."""
        callee = self.dice.choice(list(drawn.ill))
        if (caller, callee) not in self.belief.calls:
            several = Call(call.chance * len(drawn.ill), call.delays)
            drawn.wait(caller, self._leant(drawn, (caller, ""), several, drawn.ill[callee], len(drawn.ill)))
            if caller in drawn.waits:
                drawn.strangers.add((caller, callee))

    def _leant(self, drawn: _Drawing, pair: tuple[str, str], call: Call, age: int, share: float) -> int:
        """Since when it suffers by that; -1: it does not, or no sooner than it does already."""
        already = drawn.waits.get(pair[0], -1)
        key = (*pair, age, share, already)
        if (turn := self._turns.get(key)) is None:
            turn = self._turns[key] = self._turn(pair[0], call, age, share if pair[1] else 1.0, already)
        n = bisect(turn.sums, self.dice.random() * turn.sums[-1])
        n = min(n, len(turn.ages) - 1)
        drawn.weight += turn.total - log(turn.leant[n])
        return turn.ages[n]

    def _turn(self, caller: str, call: Call, age: int, share: float, already: int) -> _Turn:
        p, steps = call.chance * share, _of(call.delays)
        fits = self.fits[caller]
        well = fits[already] if already >= 0 else 1.0
        ages, odds, leant, late = [], [], [], 1.0
        for k in range(age - already):
            if steps[k] < _SELDOM:
                break
            lean = min(max(fits[age - k] / well, 1e-9), 1e9)
            ages.append(age - k)
            odds.append(p * steps[k] * lean)
            leant.append(lean)
            late -= steps[k]
        ages.append(-1)
        odds.append(1 - p + p * max(late, 0.0))
        leant.append(1.0)
        return _Turn(log(sum(odds)), list(accumulate(odds)), ages, leant)

    def _quiet(self, service: str, age: int, share: float) -> float:
        """Log: what the callers say that stand and have nothing failing above them."""
        key = (service, age, share)
        if (found := self._calm.get(key)) is None:
            found = 0.0
            for caller in self.belief.callers.get(service, ()):
                if caller not in self.near:
                    found += self._still(caller, service, age, share, _DEEP)
            self._calm[key] = found
        return found

    def _still(self, caller: str, callee: str, age: int, share: float, deep: int) -> float:
        """Log: that a caller stands, and those above it."""
        key = (id(self.belief), caller, callee, age, share, deep)
        if (found := self._stands.get(key)) is None:
            call = self.belief.calls[caller, callee]
            p, steps = call.chance * share, _of(call.delays)
            own, late, fits, more = self.evidence.suffers(caller), 1.0, 0.0, 1.0
            if deep > 1:
                then = max(age - round(fmean(call.delays) / BIN_S), 0)
                above = self.belief.callers.get(caller, ())
                more = exp(sum(self._still(c, caller, then, 1.0, deep - 1) for c in above))
            for k in range(age + 1):
                if steps[k] < _SELDOM:
                    break
                late -= steps[k]
                fits += steps[k] * own[age - k] * more
            found = self._stands[key] = log(1 - p + p * (fits + max(late, 0.0)))
        return found


_known: dict[tuple[int, str, str, int, float, int], float] = {}  # of callers that say nothing and would
_lows: dict[int, tuple[Belief, dict[str, list[str]]]] = {}  # kept with the belief, so that no other gets its id


def _needs(belief: Belief) -> dict[str, list[str]]:
    if id(belief) not in _lows:
        found: dict[str, list[str]] = {}
        _lows[id(belief)] = belief, found
        for caller, callee in belief.calls:
            found.setdefault(caller, []).append(callee)
    return _lows[id(belief)][1]
