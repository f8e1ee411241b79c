"""What is told of four of the simulator's rates: what they are, or what an outsider may believe of them.

They are those that no look at a mesh tells: how many faults are hidden, how old a fault is, how deep a check of
each name looks, how steadily fails what is broken and what suffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from consulguard.correlate.cause.weights import WEIGHTS

from bench.correlation.faults import RECOVERS
from bench.correlation.oracle.looks import BIN_S
from bench.correlation.simulate import NOWS
from bench.correlation.world import OFTEN, SIGHTS

Shares = tuple[float, ...]  # how often so many looks fail, see looks.SHARES
Span = tuple[int, ...]  # ages, in steps of BIN_S

_OLDEST_S, _SPAN = 180.0, 10  # steps
_HIDDEN = 1 - WEIGHTS.sees_own


@dataclass(frozen=True, eq=False, slots=True)
class Rates:
    hidden: float  # faults of one service that none of its own checks sees
    second_hidden: float  # ... of the second of two
    anew: bool  # they are drawn until one shows, so that this is their share of what shows
    ages: tuple[Span, ...]  # of a fault, each as likely
    sights: Mapping[str, tuple[float, float]]  # by name of a check, as in world.SIGHTS
    own: Shares  # of a root
    sick: Shares  # of what stands on a sick node
    suffers: Shares  # of a victim, and last the chance that it gets well by itself


def _but(recovers: float, shares: Sequence[float]) -> Shares:
    return (*((1 - recovers) * share for share in shares), recovers)


_OWN, _SICK, _SUFFERS = (0.73, 0.1, 0.1, 0.07), (0.12, 0.38, 0.38, 0.12), (0.1, 0.3, 0.3, 0.3)
_ALIKE = tuple(map(fmean, zip(_OWN, _SICK, _SUFFERS, strict=True)))
_STEPS = range(1, round(_OLDEST_S / BIN_S) + 1)
_DEPTH = tuple(sum(OFTEN[name] * sight[n] for name, sight in SIGHTS.items()) for n in (0, 1))

TOLD = Rates(
    hidden=0.5,
    second_hidden=0.2,
    anew=True,
    ages=tuple((round(now / BIN_S),) for now in NOWS),
    sights=SIGHTS,
    own=_OWN,
    sick=_SICK,
    suffers=_but(RECOVERS, _SUFFERS),
)
UNTOLD = Rates(  # what the engine believes, any age, any check and any failing thing like another
    hidden=_HIDDEN,
    second_hidden=_HIDDEN,
    anew=False,
    ages=tuple(tuple(_STEPS[n : n + _SPAN]) for n in range(0, len(_STEPS), _SPAN)),
    sights=dict.fromkeys(SIGHTS, (_DEPTH[0], _DEPTH[1])),
    own=_ALIKE,
    sick=_ALIKE,
    suffers=_but(RECOVERS / 2, _ALIKE),
)
