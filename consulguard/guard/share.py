"""Shares of a count, exact: 0.29 of 100 is 29, where floating point says 28."""

from __future__ import annotations

import math
from fractions import Fraction


def at_most(share: float, count: int) -> int:
    """``share`` of ``count``, rounded down. Raises ValueError unless 0 <= share <= 1."""
    return math.floor(_exact(share) * count)


def at_least(share: float, count: int) -> int:
    """``share`` of ``count``, rounded up. Raises ValueError unless 0 <= share <= 1."""
    return math.ceil(_exact(share) * count)


def _exact(share: float) -> Fraction:
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is not a share between 0 and 1")
    return Fraction(str(share))
