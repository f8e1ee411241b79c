"""How often each kind of fault gets to be a case: something of it has to show, and what does not is drawn anew.

Counted by drawing faults of each mesh; the kinds are equally many, so one that seldom shows is drawn the oftener.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from bench.correlation.oracle.belief import Belief
from bench.correlation.simulate import NOWS, TRIES, attempt

_TIMES, _WORLDS = 150, 15


class Shows(NamedTuple):
    """How often a fault that shows is drawn in the end, to how often it is drawn first."""

    service: float
    node: float
    zone: float
    double: float
    hidden: float  # where one caller fails
    hidden_two: float  # where more do


_AS_IT_IS = Shows(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # to who knows nothing of how cases are drawn
_known: dict[int, tuple[Belief, Shows]] = {}  # kept with the belief, so that no other gets its id


def shows(belief: Belief) -> Shows:
    if belief.told.often is not None:
        return _AS_IT_IS
    if id(belief) not in _known:
        _known[id(belief)] = belief, _counted(belief)
    return _known[id(belief)][1]


def _counted(belief: Belief) -> Shows:
    dice = random.Random(f"shows/{sorted(belief.units)}")
    worlds = [belief.world(dice) for _ in range(_WORLDS)]

    def share(kind: str, least: int = 1) -> float:
        tried = [attempt(worlds[n % _WORLDS], kind, dice, dice.choice(NOWS), least) for n in range(_TIMES)]
        return (sum(tried) + 0.5) / (_TIMES + 1)

    one, two = share("hidden"), share("hidden", 2)
    first, late = 0.5 * _drawn(one, TRIES), 0.5 * (1 - two) ** (TRIES // 2) * _drawn(one, TRIES // 2)
    return Shows(
        service=_drawn(share("service"), TRIES),
        node=_drawn(share("node"), TRIES),
        zone=_drawn(share("zone"), TRIES),
        double=_drawn(share("double"), TRIES),
        hidden=first + late,
        hidden_two=first + late + 0.5 * _drawn(two, TRIES // 2),
    )


def _drawn(share: float, times: int) -> float:
    """How often it is tried, of so many times at most, until one shows."""
    return (1 - (1 - share) ** times) / share
