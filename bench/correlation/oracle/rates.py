"""What is told of five of the simulator's rates: what they are, or what an outsider may believe of them.

They are those that no look at a mesh tells: how often each kind of fault is drawn, how many faults are hidden, how
old one is, how deep a check of each name looks, how steadily fails what is broken and what suffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean
from typing import NamedTuple

from consulguard.correlate.cause.weights import WEIGHTS

from bench.correlation.faults import RECOVERS
from bench.correlation.oracle.looks import BIN_S
from bench.correlation.simulate import NOWS
from bench.correlation.world import OFTEN, SIGHTS

Shares = tuple[float, ...]  # how often so many looks fail, see looks.SHARES
Span = tuple[int, ...]  # ages, in steps of BIN_S

_OLDEST_S, _SPAN = 180.0, 10  # steps


class Often(NamedTuple):
    """How likely each fault is before anything is seen, to nobody's; logs."""

    service: float
    node: float
    zone: float
    second: float  # one more service
    hidden: float  # the share of services' faults that none of their own checks sees

    def places(self) -> tuple[float, float]:
        """Of one node, and of one zone."""
        return exp(self.node), exp(self.zone)

    def log_of(self, root: str, hidden: Sequence[bool]) -> float:
        """Of a fault of this root, or of services of which these are hidden."""
        if not hidden:
            return self.node if root.startswith("node:") else self.zone
        shares = sum(log(self.hidden if unseen else 1 - self.hidden) for unseen in hidden)
        return self.service + (len(hidden) - 1) * self.second + shares


@dataclass(frozen=True, eq=False, slots=True)
class Rates:
    often: Often | None  # None: as the bench draws them
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
    often=None,
    ages=tuple((round(now / BIN_S),) for now in NOWS),
    sights=SIGHTS,
    own=_OWN,
    sick=_SICK,
    suffers=_but(RECOVERS, _SUFFERS),
)
UNTOLD = Rates(  # what the engine believes, any age, any check and any failing thing like another
    often=Often(WEIGHTS.service, WEIGHTS.node, WEIGHTS.zone, WEIGHTS.second, hidden=1 - WEIGHTS.sees_own),
    ages=tuple(tuple(_STEPS[n : n + _SPAN]) for n in range(0, len(_STEPS), _SPAN)),
    sights=dict.fromkeys(SIGHTS, (_DEPTH[0], _DEPTH[1])),
    own=_ALIKE,
    sick=_ALIKE,
    suffers=_but(RECOVERS / 2, _ALIKE),
)
