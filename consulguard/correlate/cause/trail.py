"""What one check's past says: how much likelier it is if the thing is broken than if it is well.

Three stories are compared by their likelihood, as renewal processes (D. R. Cox, "Renewal Theory", 1962):

* well: it blips rarely and briefly; now and then a recovery is never told (*stuck*);
* flapping: it comes and goes with both phases about equally long;
* broken from one of the moments it turned bad: bad for long, with short lucky passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, log1p

import msgspec

from consulguard.correlate.cause.memory import PLANNED
from consulguard.correlate.cause.weights import Weights

_LONG = 3600.0  # seconds: what lasts longer says no more, and its chance would be too small for a number

Flip = tuple[float, int]  # moment in seconds, 0: passing, 1: warning, 2: critical, 3: planned


class Sign(msgspec.Struct, frozen=True, gc=False):
    """``ratio``: log of P(past | broken) / P(past | well); None: too old to say anything of the present."""

    ratio: float | None
    onset: float
    bad: bool  # now
    worst: int
    blips: tuple[tuple[float, float, bool], ...] = ()  # bad phases: start, end, not over yet
    eased: int = 0  # how often it has eased from its worst since then


class Reader:
    """Reads pasts at one moment; what the weights say of all of them is worked out once."""

    def __init__(self, now: float, w: Weights) -> None:
        self.now, self.w = now, w
        self.fresh = now - w.fresh_s
        self._flapper, self._turn = log(w.flapper / w.fresh_s), log(w.flap_s)
        self._fault, self._blip = log(w.fault_rate), log(w.noise_rate)
        self._fails, self._passes = _phases(w.hard, w.hard_s, w.soft_s), _phases(w.calm, w.calm_s, w.lucky_s)
        self._stuck = *w.blip_s, w.stuck, w.stuck_s

    def read(self, flips: Sequence[Flip]) -> Sign | None:
        """The sign of one check; None when it has always passed, but for planned work."""
        at, level = flips[-1]
        if at < self.fresh:  # nothing has happened for long: all of it is another story
            bad, worst = 0 < level < PLANNED, level % PLANNED
            return Sign(None, at, bad, worst) if any(level % PLANNED for _, level in flips) else None
        turns, worst, eased = _turns(flips, self.fresh)
        if not turns:
            return None
        bad = len(turns) % 2 == 1
        ratio, onset, blips = self._ratio(turns)
        if not blips:
            return Sign(None, turns[-1], bad, worst)
        if worst < 2:
            ratio += self.w.warning
        return Sign(max(-self.w.bound, ratio), onset, bad, worst, tuple(blips), eased)

    def _ratio(self, turns: list[float]) -> tuple[float, float, list[tuple[float, float, bool]]]:
        """With the likeliest of the moments it may be broken since, and the phases that begin with these."""
        w, last = self.w, len(turns) - 1
        well, flapping, broken = 0.0, self._flapper, 0.0  # logs of all phases so far
        best, onset, blips = -inf, 0.0, []
        for n, start in enumerate(turns):
            over = n < last
            d = (turns[n + 1] if over else self.now) - start
            d = 0.1 if d < 0.1 else _LONG if d > _LONG else d
            if n % 2:
                well -= w.noise_rate * d
                broken += _lasts(d, self._passes[over])
            else:
                if start >= self.fresh:  # before, it was well, or a flapper, and would have passed on
                    found = (either(well, flapping + self._turn) if n else 0.0) - broken
                    if found >= best:
                        best, onset = found, start
                    blips.append((start, start + d, not over))
                well += self._blip + self._brief(d, over)
                broken += _lasts(d, self._fails[over])
            flapping -= d / w.flap_s + (self._turn if over else 0.0)
        return best + self._fault + broken - either(well, flapping), onset, blips

    def _brief(self, d: float, over: bool) -> float:
        """Of a thing that is well, whose blip lasts this long, or whose recovery was not told."""
        low, high, stuck, stuck_s = self._stuck
        untold = stuck * exp(-d / stuck_s)
        if over:
            brief = 1 / (high - low) if low <= d <= high else 0.3 / high if d < low else 0.0
            return log((1 - stuck) * brief + untold / stuck_s)
        brief = 1.0 if d <= low else (high - d) / (high - low) if d < high else 0.0
        return log((1 - stuck) * brief + untold)


def _turns(flips: Sequence[Flip], since: float) -> tuple[list[float], int, int]:
    """When it turned bad, well, bad and so on; the worst status of the last bad phase; how often it eased."""
    turns: list[float] = []
    was = worst = eased = 0
    for at, level in flips:
        if level == PLANNED:
            level = 0
        if (level > 0) != (was > 0):
            turns.append(at)
            worst = level or worst
        elif level > worst:
            worst = level
        eased += level < was and at >= since
        was = level
    return turns, worst, eased


_Phases = tuple[float, float, float, float]


def _phases(share: float, long: float, short: float) -> tuple[_Phases, _Phases]:
    """Of a broken thing, a share of whose phases is long: that one is not over yet, that it ends now."""
    return (1 - share, -1 / short, share, -1 / long), ((1 - share) / short, -1 / short, share / long, -1 / long)


def _lasts(d: float, phases: _Phases) -> float:
    some, soon, others, late = phases
    return log(some * exp(soon * d) + others * exp(late * d))


def either(a: float, b: float) -> float:
    """The log of the sum of what these are the logs of."""
    return a + log1p(exp(b - a)) if a > b else b + log1p(exp(a - b))
