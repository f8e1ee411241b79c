"""A rolling restart: a service's units fail briefly one after the other, and nobody is to blame.

Under "well" every unit's blip comes by itself, once in ``1 / noise_rate`` seconds; under a restart the next one
follows the last within ``step_s``. The odds of the second story multiply what speaks for "well".
"""

from __future__ import annotations

from collections.abc import Sequence

from consulguard.correlate.cause.weights import Weights

_Blip = tuple[float, float, int, bool]  # start, end, unit, not over yet


def odds(blips: Sequence[Sequence[tuple[float, float, bool]]], w: Weights) -> float:
    """``blips``: by unit, the bad phases as (start, end, not over yet). 0 where nothing looks like a restart."""
    flat = sorted([(a, b, n, o) for n, phases in enumerate(blips) for a, b, o in phases])
    brief = [_brief(blip, w) for blip in flat]
    if sum(brief) < 2:
        return 0.0
    return w.rolling * max([_chain(flat[n:], brief[n:], w) for n in range(len(flat)) if brief[n]])


def _chain(flat: Sequence[_Blip], brief: Sequence[bool], w: Weights) -> float:
    """How much likelier a restart that begins with the first makes what follows."""
    _, until, first, _ = flat[0]
    done, gain = {first}, 1.0
    for n in range(1, len(flat)):
        start, end, unit, _ = flat[n]
        wait = start - until
        if unit in done or wait > w.step_s or wait < -w.overlap_s or not brief[n]:
            break
        gain *= 1 / (w.noise_rate * (w.step_s + w.overlap_s))
        until = end
        done.add(unit)
    return gain if len(done) > 1 else 0.0


def _brief(blip: _Blip, w: Weights) -> bool:
    start, end, _, still = blip
    return end - start <= w.restart_s and (still or end - start >= 5.0)
