"""How much likelier the flips of a service are if its units were restarted one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from bench.correlation.oracle.looks import BIN_S
from bench.correlation.simulate import NOWS

_LENGTHS_S = (11.0, 16.0, 22.0, 27.0)  # of one restart
_WAITS = range(1, 6)  # until the next, in steps of BIN_S
_SOONEST_S, _BEFORE_S = 40.0, 90.0  # it began so long ago at least, and at most so long before the fault
_STEPS = 83  # of BIN_S, as far back as is looked

Brief = Callable[[float, float], float]  # what a check says, if it failed so long ago for so long, to blips alone


def _began() -> list[float]:
    """How often a deploy began so many steps ago."""
    found = [0.0] * _STEPS
    for now in NOWS:
        first, last = round(_SOONEST_S / BIN_S), round((now + _BEFORE_S) / BIN_S)
        for step in range(first, last):
            if step < _STEPS:
                found[step] += 1 / (last - first) / len(NOWS)
    return found


_BEGAN = _began()


def deployed(units: Sequence[Sequence[Brief]]) -> float:
    """By unit in the order of the restarts, its checks; to blips alone."""
    here = _BEGAN
    for checks in units:
        then = [0.0] * _STEPS
        over = 0.0
        for step, p in enumerate(here):
            if p < 1e-9:
                continue
            for length in _LENGTHS_S:
                told = p / len(_LENGTHS_S) * prod(brief(step * BIN_S, length) for brief in checks)
                ended = step - round(length / BIN_S)
                for wait in _WAITS:
                    if ended - wait < 0:
                        over += told / len(_WAITS)
                    else:
                        then[ended - wait] += told / len(_WAITS)
        here = then
        then[0] += over
    return sum(here)
