"""A rolling restart: a service's units fail briefly one after the other, and nobody is to blame.

Under "well" every unit's blip comes by itself, once in ``1 / noise_rate`` seconds; under a restart the next one
follows the last within ``step_s``. The odds of the second story multiply what speaks for "well".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from consulguard.correlate.cause.weights import Weights


class Blip(NamedTuple):
    start: float
    end: float
    unit: int
    open: bool


def odds(blips: Sequence[Sequence[tuple[float, float, bool]]], w: Weights) -> float:
    """``blips``: by unit, the bad phases as (start, end, not over yet). 0 where nothing looks like a restart."""
    flat = sorted(Blip(a, b, n, o) for n, phases in enumerate(blips) for a, b, o in phases)
    best = 0.0
    for first in range(len(flat)):
        best = max(best, _chain(flat, first, w))
    return w.rolling * best


def _chain(flat: Sequence[Blip], first: int, w: Weights) -> float:
    """How much likelier a restart that begins here makes what follows."""
    last, done, gain = flat[first], {flat[first].unit}, 1.0
    if not _brief(last, w):
        return 0.0
    links = 0
    for blip in flat[first + 1 :]:
        wait = blip.start - last.end
        if blip.unit in done or wait > w.step_s:
            break
        if wait < -w.overlap_s or not _brief(blip, w):
            return gain if links else 0.0
        gain *= 1 / (w.noise_rate * (w.step_s + w.overlap_s))
        links += 1
        last = blip
        done.add(blip.unit)
    return gain if links else 0.0


def _brief(blip: Blip, w: Weights) -> bool:
    length = blip.end - blip.start
    return length <= w.restart_s and (blip.open or length >= 5.0)
