"""How often each kind of fault gets to be a case at all: something of it has to show, and what does not is drawn anew.

Counted by drawing faults of each mesh; the kinds are equally many, so one that seldom shows is drawn the oftener.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from bench.correlation.simulate import NOWS, attempt
from bench.correlation.world import World

_TIMES = 60
_LEAST = 0.02


class Shows(NamedTuple):
    """Shares of the faults that show; of hidden ones with at least one and two callers that fail."""

    service: float
    hidden: float
    hidden_two: float
    node: float
    zone: float
    double: float


_shows: dict[int, Shows] = {}


def shows(world: World) -> Shows:
    if (found := _shows.get(id(world))) is None:
        dice = random.Random(f"shows/{world.id}")

        def share(kind: str, least: int = 1) -> float:
            seen = sum(attempt(world, kind, dice, dice.choice(NOWS), least) for _ in range(_TIMES))
            return max(seen / _TIMES, _LEAST)

        found = _shows[id(world)] = Shows(
            share("service"), share("hidden"), share("hidden", 2), share("node"), share("zone"), share("double")
        )
    return found


