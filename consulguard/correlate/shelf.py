"""Incidents that people closed while they failed: what failed then is known, until it has passed.

A thing is on the shelf from the moment its incident was closed until it passes for the first time. As long as
nothing else fails with it, nobody is told again; whatever else fails beside it opens its incident again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consulguard.correlate.book import Book
from consulguard.correlate.unclaimed import Unclaimed
from consulguard.model import Trouble


class Shelf:
    """The book's shelf as of one update; what has passed is taken off it."""

    def __init__(self, book: Book, troubles: Mapping[str, Trouble]) -> None:
        self._book, self._troubles = book, troubles
        for key, things in list(book.shelf.items()):
            left = [thing for thing in things if thing in troubles]
            if left and key in book.incidents:
                book.shelf[key] = left
            else:
                del book.shelf[key]
        self.known = {thing for things in book.shelf.values() for thing in things}

    def claim(self, unclaimed: Unclaimed) -> None:
        """Take away the explanations that tell nothing new."""
        if self.known:
            unclaimed.claim(unclaimed.known(self.known, self._troubles))

    def nearest(self, things: Sequence[str]) -> str | None:
        """The closed incident that shares most with these things; of equals the oldest."""
        if self.known.isdisjoint(things):
            return None
        shares = {key: len(set(things).intersection(known)) for key, known in self._book.shelf.items()}
        incidents = self._book.incidents
        best = min(shares, key=lambda key: (-shares[key], incidents[key].opened_at, key))
        return best if shares[best] else None
