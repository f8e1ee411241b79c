"""Which replica tries for which unit: a consistent-hashing ring, the same on every replica.

The ring decides nothing that must be safe. Two replicas that see different members may both try; the unit's lease
lets one of them have it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import sha256

from uhashring import HashRing

from consulguard.model import Value

POINTS = 256  # virtual nodes of a member: shares of the ring stay within about a quarter of each other
SPACE = 2**64


class Unit(Value, frozen=True, kw_only=True):
    """A part of the work that is led by itself: a datacenter, or a partition of one."""

    datacenter: str
    partition: str = ""

    @property
    def name(self) -> str:
        """Unlike every other's in keys, paths and schemas: the configuration refuses two that would not be."""
        return f"{self.datacenter}-{self.partition}" if self.partition else self.datacenter

    @property
    def told(self) -> str:
        """As people write it."""
        return f"{self.datacenter}/{self.partition}" if self.partition else self.datacenter


def owner(unit: str, members: Mapping[str, Collection[str]]) -> str | None:
    """Who is to lead the unit of that name. ``members``: each with the units it runs; None: nobody runs it."""
    able = [name for name, units in members.items() if unit in units]
    found: str | None = _ring(tuple(sorted(able))).get_node(unit) if able else None
    return found


def shares(members: Collection[str]) -> dict[str, float]:
    """How much of the ring is each member's, 0..1."""
    points: list[tuple[int, str]] = _ring(tuple(sorted(members))).get_points() if members else []
    found = dict.fromkeys(sorted(members), 0.0)
    before = points[-1][0] - SPACE if points else 0
    for point, member in points:
        found[member] += (point - before) / SPACE
        before = point
    return found


@lru_cache(maxsize=64)
def _ring(members: tuple[str, ...]) -> HashRing:
    """With a hash of our own: the same whoever makes it, and where MD5 is forbidden."""
    return HashRing(list(members), vnodes=POINTS, hash_fn=_place)


def _place(key: str) -> int:
    return int.from_bytes(sha256(key.encode()).digest()[:8], "big")
