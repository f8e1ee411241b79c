"""The explanations of one update that no incident has claimed yet, found without walking over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from consulguard.correlate.keys import root_key, root_target, service_key
from consulguard.model import Explanation, Root


class Unclaimed:
    """``things[n]``: the keys of the failing things that explanation n covers."""

    def __init__(self, explanations: Sequence[Explanation], things: Sequence[Sequence[str]]) -> None:
        self.things = things
        self._explanations = explanations
        self._claimed: set[int] = set()
        self._of: dict[str, list[int]] = {}  # thing -> explanations that cover it
        self._bare = [n for n, keys in enumerate(things) if not keys]
        self._places = Counter(place_key(e.root) for e in explanations)
        for n, keys in enumerate(things):
            for key in keys:
                self._of.setdefault(key, []).append(n)

    def within(self, covered: set[str]) -> list[int]:
        """Those that cover only what is in ``covered``, in their order; none where one covers more as well."""
        near = {n for key in covered for n in self._of.get(key, ())} - self._claimed
        if not all(covered.issuperset(self.things[n]) for n in near):
            return []
        return sorted(near.union(self._bare) - self._claimed)

    def known(self, shelved: set[str], failing: Container[str]) -> list[int]:
        """Those of which nothing fails but what is in ``shelved``, in their order."""
        found = []
        for n, keys in enumerate(self.things):
            bad = {key for key in keys if key in failing} if n not in self._claimed else set()
            if bad and shelved.issuperset(bad):
                found.append(n)
        return found

    def names(self, root: Root) -> bool:
        """Whether one of them blames the same place."""
        return self._places[place_key(root)] > 0

    def claim(self, numbers: Sequence[int]) -> None:
        self._claimed.update(numbers)
        self._places.subtract(place_key(self._explanations[n].root) for n in numbers)

    def rest(self) -> tuple[Explanation, ...]:
        return tuple(e for n, e in enumerate(self._explanations) if n not in self._claimed)


def place_key(root: Root) -> str:
    """A service and an instance of it are one place: to tell which of the two is no change of mind."""
    if root.kind in ("service", "instance"):
        return f"service:{service_key(root_target(root))}"
    return root_key(root)
