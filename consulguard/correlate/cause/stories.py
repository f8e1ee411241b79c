"""How likely each story is, and each cause: any number of stories that have nothing in common may be true at once.

A *story* is a cause, or two that are judged jointly, with all that suffers from it. Let y be the weight of a story
beside *nobody*, as one more fault than there are. All sets of stories of which no two touch the same service are
weighed, a set by the product of its y:

    Z(V) = Z(V without v) + y(v) Z(V without v and what has something in common with it),   Z(nothing) = 1

which is the partition function of a hard-core gas (independent sets of a graph). What has nothing to do with each
other multiplies, so that neither changes the chance of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from consulguard.correlate.cause.callers import Tree
from consulguard.correlate.cause.trail import either

_KEPT = 20  # stories of a heap that are weighed in all sets
_APART = 8  # ... and so many more that have nothing in common with the strongest
_FAINT = -7.0  # log: less than that changes nothing

Entity = tuple[str, str]  # kind, key


class Story(NamedTuple):
    causes: tuple[Entity, ...]
    score: float  # log
    touches: int = 0  # services, as bits
    tree: Tree | None = None


class Sets:
    """Sums over sets of stories; ``y`` are logs."""

    def __init__(self, y: Sequence[float], touches: Sequence[int]) -> None:
        self.y = y
        kept = _kept(y, touches)
        self.every = sum([1 << n for n in kept])
        bits = [(1 << k, touches[k]) for k in kept]
        self.common = [
            sum([bit for bit, others in bits if mine & others]) | self.every & 1 << n
            for n, mine in enumerate(touches)
        ]
        self._known: dict[int, float] = {0: 0.0}

    def all(self) -> float:
        return self._total(self.every)

    def with_(self, n: int) -> float:
        """The sum over the sets that hold it."""
        return self.y[n] + self._total(self.every & ~self.common[n])

    def kept(self, n: int) -> bool:
        """Whether the sums over all sets know of it."""
        return bool(self.every >> n & 1)

    def _total(self, among: int) -> float:
        """Heap by heap, a heap being what hangs together."""
        found = 0.0
        while among:
            heap = self._heap(among)
            found += self._sum(heap)
            among &= ~heap
        return found

    def _heap(self, among: int) -> int:
        heap, fresh = 0, among & -among
        while fresh:
            heap |= fresh
            near = 0
            for n in _bits(fresh):
                near |= self.common[n]
            fresh = near & among & ~heap
        return heap

    def _sum(self, heap: int) -> float:
        if (found := self._known.get(heap)) is None:
            here = _bits(heap)
            if alone := [n for n in here if not heap & ~self.common[n]]:  # beside these no other is true
                found = self._total(heap & ~sum([1 << n for n in alone]))
                for n in alone:
                    found = either(found, self.y[n])
            else:
                n = max(here, key=lambda k: ((self.common[k] & heap).bit_count(), self.y[k]))
                found = either(self._total(heap & ~(1 << n)), self.y[n] + self._total(heap & ~self.common[n]))
            self._known[heap] = found
        return found


def _kept(y: Sequence[float], touches: Sequence[int]) -> list[int]:
    """Of each heap the strongest, as far as they are not faint."""
    heaps: list[tuple[int, list[int]]] = []  # what it touches, its stories
    for n in sorted((n for n in range(len(y)) if y[n] > _FAINT), key=lambda n: -y[n]):
        near = [heap for heap in heaps if heap[0] & touches[n]]
        heaps = [heap for heap in heaps if not heap[0] & touches[n]]
        bits, mine = touches[n], [n]
        for more, others in near:
            bits |= more
            mine += others
        heaps.append((bits, mine))
    return [n for _, mine in heaps for n in _strongest(sorted(mine, key=lambda n: -y[n]), touches)]


def _strongest(heap: list[int], touches: Sequence[int]) -> list[int]:
    """What may be true beside the strongest is not crowded out by the many that only say the same as it."""
    apart = [n for n in heap[_KEPT:] if not touches[n] & touches[heap[0]]]
    return heap[:_KEPT] + apart[:_APART]


def _bits(of: int) -> list[int]:
    found = []
    while of:
        low = of & -of
        found.append(low.bit_length() - 1)
        of ^= low
    return found
