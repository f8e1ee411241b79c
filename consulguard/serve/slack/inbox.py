"""Between the doors and the handler: each act once, and never more waiting than can be answered in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from consulguard.serve.slack.envelope import Envelope

WAITING_MAX = 500
REMEMBERED = 10_000  # keys: at Slack's own pace many times the minutes in which it sends again

BUSY = "Too much is going on here; please try again in a moment."


class Counts(NamedTuple):
    taken: int
    repeated: int  # deliveries of what had been taken already
    turned_away: int  # for want of room, or meant for another app or workspace


class Inbox:
    """``start`` is given each envelope once, after its door has acknowledged it; it must not block.

    A door calls ``take``, acknowledges, then calls ``begin``: also when the acknowledgement could not be sent,
    since Slack may send again what it holds for lost, and that is then known already.
    """

    def __init__(self, start: Callable[[Envelope], None], *, waiting: int = WAITING_MAX) -> None:
        self._start = start
        self._most = waiting
        self._seen: dict[str, None] = {}
        self._waiting = 0
        self.counts = Counts(0, 0, 0)

    def take(self, envelope: Envelope) -> bool | None:
        """True: it is new, acknowledge and begin. False: it was here before, only acknowledge. None: no room."""
        if envelope.key in self._seen:
            self.counts = self.counts._replace(repeated=self.counts.repeated + 1)
            return False
        if self._waiting >= self._most:
            self.turned_away()
            return None
        self._seen[envelope.key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._waiting += 1
        self.counts = self.counts._replace(taken=self.counts.taken + 1)
        return True

    def begin(self, envelope: Envelope) -> None:
        self._start(envelope)

    def done(self) -> None:
        """The handler is through with one envelope."""
        self._waiting -= 1

    def turned_away(self) -> None:
        self.counts = self.counts._replace(turned_away=self.counts.turned_away + 1)

    @property
    def waiting(self) -> int:
        return self._waiting
