"""What one check's flips say of an ill that began so long ago, by the bench's own physics: a hidden Markov model.

A check looks every so often; what it counts, what it shows and what the watcher saw of that are the state, with
lost and late flips (``bench/correlation/checks.py``). Behind it is one of: nothing but blips, a flapper, or an ill
from some moment on, of which a share of the looks fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import ceil, exp, floor, log
from typing import NamedTuple

from bench.correlation.checks import LATE
from bench.correlation.oracle.manners import Manner, Seen, backward, onward, rows

BIN_S, BINS = 3.0, 62  # ages of an ill
SHARES = (1.0, 0.9, 0.75, 0.6)  # of the looks that fail
ENDS_S = 40.0  # a victim that gets well by itself does so after about this
WINDOW_S = 250.0  # what came earlier says nothing of the fault
_BLIP_S = (1.0, 40.0)
_FLAP_S = 45.0
_SOON_S = 1.05  # until the watcher sees a flip that is not late
_LEAST = 1e-7

Flips = Sequence[tuple[float, bool]]  # moment, failing


class Past(NamedTuple):
    """P(flips | ...) / P(flips | nothing but noise)."""

    ill: tuple[tuple[float, ...], ...]  # by share and age
    ended: tuple[float, ...]  # by age
    flapper: float  # nothing but a flapper


@lru_cache(maxsize=16)
def spoils(every_s: float) -> tuple[float, ...]:
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

    def __init__(self, manner: Manner, flips: Flips, now: float, rate: float) -> None:
        self.manner = manner
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
        self._unrepeated()
        self.missed = len(fresh) - sum(seen is not None for seen in self.seen)  # flips that came with another
        self.now = now
        self._brief: dict[tuple[int, int], float] = {}
        self._alone, self._whole = self._noise()
        self._flaps = self._flapping()

    def _unrepeated(self) -> None:
        """Of flips that come together, as one was late, the last alone is looked at, if it is one still."""
        now = self.was
        for n, seen in enumerate(self.seen):
            if seen and seen[0] == now:
                self.seen[n] = None
            elif seen:
                now = seen[0]

    def noise(self, flapper: float) -> float:
        """P(flips | nothing but noise), with this chance of a flapper."""
        return max((1 - flapper) * self._whole + flapper * self._flaps, 1e-300)

    def past(self, flapper: float) -> Past:
        noise = self.noise(flapper)

        def ratios(found: Sequence[float]) -> tuple[float, ...]:
            return tuple(max(((1 - flapper) * p + flapper * self._flaps) / noise, _LEAST) for p in found)

        *ill, ended = map(ratios, self._ills)
        return Past(tuple(ill), ended, min(self._flaps / max(self._whole, 1e-300), 1e9))

    @cached_property
    def _ills(self) -> list[list[float]]:
        """By age: P(flips | ill since then), for each share of failing looks, and if it got well by itself."""
        firsts = [self._first(age) for age in range(BINS)]
        steps = round(ENDS_S / self.manner.every_s)
        told = [{k: _dot(self._alone[k], after[k]) for k in set(firsts)} for after in map(self._back, SHARES)]
        told.append({k: self._for(k, steps, 0.8) for k in set(firsts)})
        return [[by_look[k] for k in firsts] for by_look in told]

    def brief(self, age_s: float, length_s: float) -> float:
        """P(flips | ill for so long, so long ago, and not flapping)."""
        start = self.now - age_s
        first = ceil((start - self.begin) / self.manner.every_s)
        last = ceil((start + length_s - self.begin) / self.manner.every_s)
        first, last = (min(max(k, 0), self.steps) for k in (first, last))
        if (found := self._brief.get((first, last))) is None:
            found = self._brief[first, last] = self._for(first, last - first, 1.0)
        return found

    def _first(self, age: int) -> int:
        """The first look after an ill of this age began."""
        start = self.now - BIN_S * age
        return min(max(ceil((start - self.begin) / self.manner.every_s), 0), self.steps)

    def _start(self) -> list[list[float]]:
        """By looks that a blip still spoils, the chances of states."""
        m = self.manner
        found = [[0.0] * m.states() for _ in spoils(m.every_s)]
        if self.was:
            found[0][m.state(0, True)] = found[2][m.state(m.bad, True)] = 0.5
        else:
            found[0][m.state(0, False)] = 1.0
        return found

    def _noise(self) -> tuple[list[list[float]], float]:
        """P(flips so far, state | blips) before each look, and of all of them."""
        often = self.rate * self.manner.every_s
        new = [often * chance for chance in spoils(self.manner.every_s)]
        calm = 1 - sum(new[1:])
        found, here = [], self._start()
        for seen in self.seen:
            found.append(_merged(here))
            passes, fails = (rows(self.manner, share, seen) for share in (0.0, 1.0))
            begins = here[0]
            then = [
                onward([left + p * chance for left, p in zip(spoilt, begins, strict=True)], fails)
                for spoilt, chance in zip(here[1:], new[1:], strict=True)
            ]
            well = onward([p * calm for p in begins], passes)
            then[0] = [a + b for a, b in zip(then[0], well, strict=True)]
            here = [*then, [0.0] * len(begins)]
        found.append(_merged(here))
        return found, sum(map(sum, here))

    def _flapping(self) -> float:
        turns = 1 - exp(-self.manner.every_s / _FLAP_S)
        well = ill = [p / 2 for p in _merged(self._start())]
        for seen in self.seen:
            well, ill = (
                onward(_blend(well, ill, stays), rows(self.manner, share, seen))
                for share, stays in ((0.0, 1 - turns), (1.0, turns))
            )
        return sum(well) + sum(ill)

    def _back(self, share: float) -> list[list[float]]:
        """P(flips from this look on | state, ill)."""
        after = [[1.0] * self.manner.states()]
        for seen in reversed(self.seen):
            after.append(backward(after[-1], rows(self.manner, share, seen)))
        return after[::-1]

    @cached_property
    def _calm(self) -> list[list[float]]:
        return self._back(0.0)

    def _for(self, n: int, looks: int, share: float) -> float:
        """P(flips | ill for so many looks from the n-th on)."""
        here, until = self._alone[n], min(n + looks, self.steps)
        for k in range(n, until):
            here = onward(here, rows(self.manner, share, self.seen[k]))
        return _dot(here, self._calm[until])


def _blend(a: Sequence[float], b: Sequence[float], share: float) -> list[float]:
    return [x * share + y * (1 - share) for x, y in zip(a, b, strict=True)]


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum([x * y for x, y in zip(a, b, strict=True)])


def _merged(here: Sequence[Sequence[float]]) -> list[float]:
    return [sum(chances) for chances in zip(*here, strict=True)]


def timing(flips: Flips, every_s: float, now: float) -> float:
    """Log: how well the moments of flips fit a check that looks so often, about."""
    moments = [at for at, _ in flips if at >= now - WINDOW_S]
    phase = _phase(moments, every_s)
    late = sum((at - phase) % every_s > _SOON_S for at in moments)
    return late * log(LATE / every_s) - log(every_s)


def _phase(moments: Sequence[float], every_s: float) -> float:
    """When it looks, as most of its flips tell."""

    def near(phase: float) -> int:
        return sum((at - phase) % every_s <= _SOON_S for at in moments)

    return max(moments, key=near, default=0.0) - 1e-3


@lru_cache(maxsize=4096)
def look(manner: Manner, flips: Flips, now: float, rate: float) -> Look:
    return Look(manner, flips, now, rate)


@lru_cache(maxsize=512)
def silent(manner: Manner) -> Past:
    """Of a check that says nothing, whenever it looks."""
    phases = 4
    told = []
    for n in range(phases):
        look = Look(manner, (), manner.every_s * n / phases, 0.0)
        told.append(look.past(0.0))
    ill = tuple(
        tuple(sum(p.ill[q][age] for p in told) / phases for age in range(BINS)) for q in range(len(SHARES))
    )
    return Past(ill, tuple(sum(p.ended[age] for p in told) / phases for age in range(BINS)), 0.1)
