"""Durations as people write them: one whole number and a unit."""

from __future__ import annotations

import re

MAX_S = 30 * 86400.0  # longer waits are a mistake of the hand, not a policy

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PATTERN = r"^[0-9]{1,7}[smhd]$"
_SHAPE = re.compile(r"([0-9]{1,7})([smhd])")


def parse_duration(text: object) -> float:
    """Seconds of ``90s``, ``15m``, ``2h`` or ``7d``; a unit is required and 30 days are the most.

    Raises ValueError with a sentence for people.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a duration: write a number with its unit, such as 90s, 15m or 2h")
    found = _SHAPE.fullmatch(text)
    if not found:
        raise ValueError(
            f"{shorten(text)} is not a duration: write one whole number and a unit (90s, 15m, 2h, 7d)"
        )
    seconds = float(int(found[1]) * _UNITS[found[2]])
    if seconds > MAX_S:
        raise ValueError(f"{text} is longer than the 30 days allowed")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest exact writing of whole seconds; parts of a second are dropped."""
    whole = int(seconds)
    for unit in ("d", "h", "m"):
        if whole and whole % _UNITS[unit] == 0:
            return f"{whole // _UNITS[unit]}{unit}"
    return f"{whole}s"


def shorten(text: str, limit: int = 60) -> str:
    """``text`` quoted and escaped for a message, cut where it is long."""
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
