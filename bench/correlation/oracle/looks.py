"""What one check's flips say of an ill that began so long ago, by the bench's own physics: a hidden Markov model.

A check looks every so often; what it counts, what it shows and what the watcher saw of that are the state, with
lost and late flips (``bench/correlation/checks.py``). Behind it is one of: nothing but blips, a flapper, or an ill
from some moment on, of which a share of the looks fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, exp, floor
from typing import NamedTuple

from bench.correlation.checks import LATE, LATE_S, LOST
from bench.correlation.world import Check

BIN_S, BINS = 3.0, 62  # ages of an ill
SHARES = (1.0, 0.9, 0.75, 0.6)  # of the looks that fail
ENDS_S = 40.0  # a victim that gets well by itself does so after about this
WINDOW_S = 250.0  # what came earlier says nothing of the fault
_BLIP_S = (1.0, 40.0)
_FLAP_S = 45.0
_SOON_S = 1.05  # until the watcher sees a flip that is not late
_LATE_S = sum(LATE_S) / 2
_LEAST = 1e-7
_NONE, _SOON, _LATER = 0, 1, 2  # how a step shows

Flips = Sequence[tuple[float, bool]]  # moment, failing
Move = tuple[int, float, int]  # next state, chance, how it shows
Seen = tuple[bool, bool] | None  # failing, in time


class Manner(NamedTuple):
    every_s: float
    bad: int  # failures in a row that make it critical
    good: int

    def states(self) -> int:
        return 4 * (self.bad + self.good)

    def state(self, count: int, seen: bool, late: bool = False) -> int:
        return 4 * count + 2 * seen + late


class Past(NamedTuple):
    """P(flips | ...) / P(flips | nothing but noise)."""

    ill: tuple[tuple[float, ...], ...]  # by share and age
    ended: tuple[float, ...]  # by age
    flapper: float  # nothing but a flapper


def manner_of(check: Check) -> Manner:
    if check.ttl_s:
        return Manner(check.every_s, max(round(check.ttl_s / check.every_s), 1), 1)
    return Manner(check.every_s, max(check.failures_before_critical, 1), max(check.success_before_passing, 1))


@lru_cache(maxsize=256)
def _moves(manner: Manner) -> list[tuple[list[Move], list[Move]]]:
    """By state: what follows a look that passes, and one that fails."""
    return [(_after(manner, n, False), _after(manner, n, True)) for n in range(manner.states())]


def _after(manner: Manner, state: int, fails: bool) -> list[Move]:
    count, seen, late = state // 4, bool(state & 2), bool(state & 1)
    failing = count >= manner.bad
    if not failing:
        then = count + 1 if fails else 0
    else:
        then = manner.bad if fails else count + 1
        then = 0 if then == manner.bad + manner.good else then
    now_failing = then >= manner.bad
    if now_failing != failing:
        if now_failing == seen:
            return [(manner.state(then, seen), 1.0, _NONE)]
        return [
            (manner.state(then, now_failing), 1 - LOST - LATE, _SOON),
            (manner.state(then, seen), LOST, _NONE),
            (manner.state(then, seen, True), LATE, _NONE),
        ]
    if late and seen != failing:
        shows = min(manner.every_s / _LATE_S, 0.9)
        return [(manner.state(then, failing), shows, _LATER), (manner.state(then, seen, True), 1 - shows, _NONE)]
    return [(manner.state(then, seen), 1.0, _NONE)]


@lru_cache(maxsize=16)
def _blip(every_s: float) -> tuple[float, ...]:
    """How many looks a blip spoils: chances of 0, 1, 2 and so on."""
    low, high = _BLIP_S
    chances = [0.0] * (ceil(high / every_s) + 1)
    steps = 40
    for a in range(steps):
        for b in range(steps):
            left = low + (high - low) * (a + 0.5) / steps - every_s * (b + 0.5) / steps
            chances[floor(left / every_s) + 1 if left >= 0 else 0] += 1 / steps**2
    return tuple(chances)


class Look:
    """One check's trail within the window."""

    def __init__(self, manner: Manner, flips: Flips, now: float, rate: float, flapper: float) -> None:
        self.manner, self.moves = manner, _moves(manner)
        fresh = [(at, bad) for at, bad in flips if at >= now - WINDOW_S]
        before = [bad for at, bad in flips if at < now - WINDOW_S]
        self.rate, self.phase = rate, _phase([at for at, _ in fresh], manner.every_s)
        first = floor((now - WINDOW_S - self.phase) / manner.every_s)
        self.steps = floor((now - self.phase) / manner.every_s) - first + 1
        self.begin = self.phase + first * manner.every_s
        self.seen: list[Seen] = [None] * self.steps
        for at, bad in fresh:
            n = min(max(floor((at - self.begin + 1e-6) / manner.every_s), 0), self.steps - 1)
            self.seen[n] = (bad, at - self.begin - n * manner.every_s <= _SOON_S)
        self.was = bool(before and before[-1])
        self.now, self.flapper = now, flapper
        self._brief: dict[tuple[int, int], float] = {}
        self._alone: tuple[list[dict[int, float]], float] | None = None
        self._calm = self._back(0.0)
        self.base = 1.0  # P(flips | nothing but noise)

    def past(self) -> Past:
        alone, whole = self.noise()
        flapping = self._flapping()
        odds = self.flapper
        noise = self.base = max((1 - odds) * whole + odds * flapping, 1e-300)

        def ratio(found: float) -> float:
            return max(((1 - odds) * found + odds * flapping) / noise, _LEAST)

        firsts = [self._first(age) for age in range(BINS)]
        ill = []
        for share in SHARES:
            after = self._back(share)
            ill.append(tuple(ratio(sum(p * after[k][s] for s, p in alone[k].items())) for k in firsts))
        steps = round(ENDS_S / self.manner.every_s)
        by_look = {k: ratio(self._for(k, steps, 0.8)) for k in set(firsts)}
        return Past(tuple(ill), tuple(by_look[k] for k in firsts), min(flapping / max(whole, 1e-300), 1e9))

    def brief(self, age_s: float, length_s: float) -> float:
        """If it was ill for so long, so long ago, and is not flapping."""
        start = self.now - age_s
        first = ceil((start - self.begin) / self.manner.every_s)
        last = ceil((start + length_s - self.begin) / self.manner.every_s)
        first, last = (min(max(k, 0), self.steps) for k in (first, last))
        if (found := self._brief.get((first, last))) is None:
            found = min(self._for(first, last - first, 1.0) / self.base, 1e9)
            self._brief[first, last] = found
        return found

    def _first(self, age: int) -> int:
        """The first look after an ill of this age began."""
        start = self.now - BIN_S * age
        return min(max(ceil((start - self.begin) / self.manner.every_s), 0), self.steps)

    def _fits(self, n: int, state: int, how: int) -> float:
        seen = self.seen[n]
        if seen is None:
            return float(how == _NONE)
        if how == _NONE or bool(state & 2) != seen[0]:
            return 0.0
        return float(seen[1]) if how == _SOON else 1 / self.manner.every_s

    def _start(self) -> dict[tuple[int, int], float]:
        m = self.manner
        if not self.was:
            return {(m.state(0, False), 0): 1.0}
        return {(m.state(0, True), 0): 0.5, (m.state(m.bad, True), 2): 0.5}

    def noise(self) -> tuple[list[dict[int, float]], float]:
        """P(flips so far, state | blips) before each look, and of all of them."""
        if self._alone is None:
            self._alone = self._noise()
        return self._alone

    def _noise(self) -> tuple[list[dict[int, float]], float]:
        spoils = _blip(self.manner.every_s)
        often = self.rate * self.manner.every_s
        new = [(k, often * chance) for k, chance in enumerate(spoils) if k]
        calm = 1 - sum(p for _, p in new)
        found, here = [], self._start()
        for n in range(self.steps):
            found.append(_merged(here))
            then: dict[tuple[int, int], float] = {}
            for (state, left), p in here.items():
                if p < 1e-14:
                    continue
                ways = [(True, left - 1, 1.0)] if left else [(False, 0, calm), *((True, k - 1, c) for k, c in new)]
                for fails, more, chance in ways:
                    for to, odds, how in self.moves[state][fails]:
                        if fit := self._fits(n, to, how):
                            then[to, more] = then.get((to, more), 0.0) + p * chance * odds * fit
            here = then
        found.append(_merged(here))
        return found, sum(here.values())

    def _flapping(self) -> float:
        turns = 1 - exp(-self.manner.every_s / _FLAP_S)
        here = {(s, i): p / 2 for (s, _), p in self._start().items() for i in (False, True)}
        for n in range(self.steps):
            then: dict[tuple[int, bool], float] = {}
            for (state, ill), p in here.items():
                for fails, chance in ((ill, 1 - turns), (not ill, turns)):
                    for to, odds, how in self.moves[state][fails]:
                        if fit := self._fits(n, to, how):
                            then[to, fails] = then.get((to, fails), 0.0) + p * chance * odds * fit
            here = then
        return sum(here.values())

    def _back(self, share: float) -> list[list[float]]:
        """P(flips from this look on | state, ill)."""
        after = [[1.0] * self.manner.states()]
        for n in range(self.steps - 1, -1, -1):
            later = after[-1]
            here = []
            for passes, fails in self.moves:
                found = 0.0
                for chance, moves in ((1 - share, passes), (share, fails)):
                    if chance:
                        for to, odds, how in moves:
                            found += chance * odds * self._fits(n, to, how) * later[to]
                here.append(found)
            after.append(here)
        return after[::-1]

    def _for(self, n: int, looks: int, share: float) -> float:
        """P(flips | ill for so many looks from the n-th on)."""
        here, until = self.noise()[0][n], min(n + looks, self.steps)
        for k in range(n, until):
            then: dict[int, float] = {}
            for state, p in here.items():
                for chance, moves in zip((1 - share, share), self.moves[state], strict=True):
                    for to, odds, how in moves if chance else ():
                        if fit := self._fits(k, to, how):
                            then[to] = then.get(to, 0.0) + p * chance * odds * fit
            here = then
        return sum(p * self._calm[until][s] for s, p in here.items())


def _merged(here: dict[tuple[int, int], float]) -> dict[int, float]:
    found: dict[int, float] = {}
    for (state, _), p in here.items():
        found[state] = found.get(state, 0.0) + p
    return found


def _phase(moments: Sequence[float], every_s: float) -> float:
    """When it looks, as most of its flips tell."""

    def near(phase: float) -> int:
        return sum((at - phase) % every_s <= _SOON_S for at in moments)

    return max(moments, key=near, default=0.0) - 1e-3


@lru_cache(maxsize=512)
def silent(manner: Manner) -> Past:
    """Of a check that says nothing, whenever it looks."""
    phases = 4
    told = []
    for n in range(phases):
        look = Look(manner, (), manner.every_s * n / phases, 0.0, 0.0)
        told.append(look.past())
    ill = tuple(
        tuple(sum(p.ill[q][age] for p in told) / phases for age in range(BINS)) for q in range(len(SHARES))
    )
    return Past(ill, tuple(sum(p.ended[age] for p in told) / phases for age in range(BINS)), 0.1)
