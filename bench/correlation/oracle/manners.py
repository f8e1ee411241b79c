"""How a check behaves, as a Markov chain: what it counts, what it shows and what the watcher saw of that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from bench.correlation.checks import LATE, LATE_S, LOST
from bench.correlation.world import Check

_LATE_S = sum(LATE_S) / 2
_NONE, _SOON, _LATER = 0, 1, 2  # how a step shows

Move = tuple[int, float, int]  # next state, chance, how it shows
Seen = tuple[bool, bool] | None  # failing, in time
Rows = tuple[tuple[tuple[int, float], ...], ...]  # by state: where to, with its chance and that of what was seen


class Manner(NamedTuple):
    every_s: float
    bad: int  # failures in a row that make it critical
    good: int

    def states(self) -> int:
        return 4 * (self.bad + self.good)

    def state(self, count: int, seen: bool, late: bool = False) -> int:
        return 4 * count + 2 * seen + late


def manner_of(check: Check) -> Manner:
    if check.ttl_s:
        return Manner(check.every_s, max(round(check.ttl_s / check.every_s), 1), 1)
    return Manner(check.every_s, max(check.failures_before_critical, 1), max(check.success_before_passing, 1))


@lru_cache(maxsize=4096)
def rows(manner: Manner, share: float, seen: Seen) -> Rows:
    """What one look does of which this share fails, if that is seen of it."""
    found = []
    for state in range(manner.states()):
        then: dict[int, float] = {}
        for chance, fails in ((1 - share, False), (share, True)):
            for to, odds, how in _after(manner, state, fails) if chance else ():
                if fit := _fits(manner, seen, to, how):
                    then[to] = then.get(to, 0.0) + chance * odds * fit
        found.append(tuple(then.items()))
    return tuple(found)


def onward(here: Sequence[float], moves: Rows) -> list[float]:
    """From the chances of states before a look to those after it."""
    then = [0.0] * len(here)
    for p, row in zip(here, moves, strict=True):
        if p:
            for to, odds in row:
                then[to] += p * odds
    return then


def backward(later: Sequence[float], moves: Rows) -> list[float]:
    return [sum([odds * later[to] for to, odds in row]) for row in moves]


def _fits(manner: Manner, seen: Seen, state: int, how: int) -> float:
    if seen is None:
        return float(how == _NONE)
    if how == _NONE or bool(state & 2) != seen[0]:
        return 0.0
    return float(seen[1]) if how == _SOON else 1 / manner.every_s


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
