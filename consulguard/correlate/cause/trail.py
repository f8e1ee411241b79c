"""What one check's past says: how much likelier it is if the thing is broken than if it is well.

Three stories are compared by their likelihood, as renewal processes (D. R. Cox, "Renewal Theory", 1962):

* well: it blips rarely and briefly; now and then a recovery is never told (*stuck*);
* flapping: it comes and goes with both phases about equally long;
* broken from one of the moments it turned bad: bad for long, with short lucky passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

from consulguard.correlate.cause.memory import PLANNED
from consulguard.correlate.cause.weights import Weights

_LONG = 3600.0  # seconds: what lasts longer says no more, and its chance would be too small for a number

Flip = tuple[float, int]  # moment in seconds, 0: passing, 1: warning, 2: critical, 3: planned


class Sign(NamedTuple):
    """``ratio``: log of P(past | broken) / P(past | well); None: too old to say anything of the present."""

    ratio: float | None
    onset: float
    bad: bool  # now
    worst: int
    blips: tuple[tuple[float, float, bool], ...] = ()  # bad phases: start, end, not over yet
    eased: int = 0  # how often it has eased from its worst since then


class _Phase(NamedTuple):
    start: float
    length: float
    bad: bool
    open: bool  # not over yet


def read(flips: Sequence[Flip], now: float, w: Weights) -> Sign | None:
    """The sign of one check; None when it has always passed, but for planned work."""
    flips = [(at, 0 if level == PLANNED else level) for at, level in flips]
    if flips[-1][0] < now - w.fresh_s:  # nothing has happened for long: all of it is another story
        bad = flips[-1][1] > 0
        return Sign(None, flips[-1][0], bad, flips[-1][1]) if any(level for _, level in flips) else None
    phases, worst = _phases(flips, now)
    if not phases:
        return None
    last = phases[-1]
    well, flapping = [0.0], [log(w.flapper / w.fresh_s)]
    for phase in phases:
        well.append(well[-1] + _well(phase, w))
        flapping.append(flapping[-1] + _flapping(phase, w))
    best, onset, after = None, last.start, 0.0
    for n in range(len(phases) - 1, -1, -1):
        phase = phases[n]
        after += _broken(phase, w)
        if not phase.bad or phase.start < now - w.fresh_s:
            continue
        before = _before(phases, n, well, flapping, w)
        found = before + log(w.fault_rate) + after
        if best is None or found > best:
            best, onset = found, phase.start
    if best is None:
        return Sign(None, last.start, last.bad, worst)
    ratio = best - _either(well[-1], flapping[-1])
    if worst < 2:
        ratio += w.warning
    blips = tuple((p.start, p.start + p.length, p.open) for p in phases if p.bad and p.start >= now - w.fresh_s)
    return Sign(max(-w.bound, ratio), onset, last.bad, worst, blips, _eased(flips, now - w.fresh_s))


def _eased(flips: Sequence[Flip], since: float) -> int:
    return sum(now < was and at >= since for (_, was), (at, now) in pairwise(flips))


def _phases(flips: Sequence[Flip], now: float) -> tuple[list[_Phase], int]:
    """From the first bad phase on, equal neighbours joined; and the worst status of the last bad one."""
    joined: list[tuple[float, bool]] = []
    worst = 0
    for at, status in flips:
        bad = status > 0
        if bad:
            worst = status if not joined or not joined[-1][1] else max(worst, status)
        if not joined or joined[-1][1] != bad:
            joined.append((at, bad))
    if joined and not joined[0][1]:
        joined = joined[1:]
    if not joined:
        return [], worst
    ends = [at for at, _ in joined[1:]] + [now]
    count = len(joined)
    return [
        _Phase(at, min(max(end - at, 0.1), _LONG), bad, n == count - 1)
        for n, ((at, bad), end) in enumerate(zip(joined, ends, strict=True))
    ], worst


def _before(phases: list[_Phase], n: int, well: list[float], flapping: list[float], w: Weights) -> float:
    """What came before the fault: the check was well, or a flapper, and would have passed on."""
    if n == 0:
        return 0.0
    gap = phases[n - 1].length
    return _either(well[n - 1] - w.noise_rate * gap, flapping[n - 1] - gap / w.flap_s)


def _well(phase: _Phase, w: Weights) -> float:
    d = phase.length
    if not phase.bad:
        return -w.noise_rate * d
    low, high = w.blip_s
    told = log(w.noise_rate)
    stuck = w.stuck * exp(-d / w.stuck_s)
    if phase.open:
        brief = 1.0 if d <= low else max(0.0, (high - d) / (high - low))
        return told + log((1 - w.stuck) * brief + stuck)
    brief = 1 / (high - low) if low <= d <= high else 0.3 / high if d < low else 0.0
    return told + log((1 - w.stuck) * brief + stuck / w.stuck_s)


def _flapping(phase: _Phase, w: Weights) -> float:
    return -phase.length / w.flap_s - (0.0 if phase.open else log(w.flap_s))


def _broken(phase: _Phase, w: Weights) -> float:
    if phase.bad:
        share, long, short = w.hard, w.hard_s, w.soft_s
    else:
        share, long, short = w.calm, w.calm_s, w.lucky_s
    d = phase.length
    if phase.open:
        return log((1 - share) * exp(-d / short) + share * exp(-d / long))
    return log((1 - share) * exp(-d / short) / short + share * exp(-d / long) / long)


def _either(a: float, b: float) -> float:
    high = max(a, b)
    return high + log(exp(a - high) + exp(b - high))
