"""What units tell each other: each leader writes its failing services beside its lease, the other units read it.

News are as good as their beat: a number that rises with every writing. A note whose beat has stood still for a
minute by our own clock says nothing of now, and no clock of another machine is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from consulguard.clock import Clock
from consulguard.coordinate import Lock
from consulguard.errors import LeaseLost, LeaseUnavailable
from consulguard.events import HeardOf
from consulguard.model import Neighbour, Value

LOOK_S = 3.0  # between two looks at a neighbour's note
BEAT_S = 15.0  # a leader that sees its mesh says so this often, whether anything has changed or not
OLD_S = 60.0  # without a beat for so long nothing is known of a unit any more
ANSWER_S = 5.0
log = structlog.get_logger("consulguard.neighbours")


class News(Value, frozen=True, kw_only=True):
    """What a unit's leader says; ``beat`` never falls within an epoch, and an epoch never comes again."""

    epoch: int
    beat: int
    failing: tuple[Neighbour, ...] = ()


class Note(Value, frozen=True, kw_only=True):
    """What stands beside a unit's lease, as far as its neighbours read it; its mark stands there too."""

    news: News | None = None


class NeighbourWatch:
    """Reads the notes of other units and emits what has changed.

    ``locks``: by unit; they are only read, and closed at the end.
    """

    def __init__(
        self, locks: Mapping[str, Lock], clock: Clock, emit: Callable[[HeardOf], Awaitable[None]]
    ) -> None:
        self._locks = locks
        self._clock = clock
        self._emit = emit
        now = clock.monotonic()
        self._beats = dict.fromkeys(locks, ((0, 0), now))  # epoch and beat, and when they were new
        self._told: dict[str, tuple[Neighbour, ...] | None] = {}  # None: that nothing is known

    async def run(self) -> None:
        try:
            while True:
                await asyncio.gather(*(self.look(unit) for unit in self._locks))
                await asyncio.sleep(LOOK_S)
        finally:
            for lock in self._locks.values():
                await lock.close()

    async def look(self, unit: str) -> None:
        """One look at one note."""
        news, now = await self._read(unit), self._clock.monotonic()
        beat, since = self._beats[unit]
        if news is not None and (news.epoch, news.beat) > beat:
            self._beats[unit] = ((news.epoch, news.beat), now)
            if self._told.get(unit) != news.failing:
                self._told[unit] = news.failing
                await self._emit(HeardOf(at=self._clock.now(), unit=unit, failing=news.failing))
        elif now - since > OLD_S and self._told.get(unit, ()) is not None:
            self._told[unit] = None
            log.warning("neighbour_not_heard_of", neighbour=unit)
            await self._emit(HeardOf(at=self._clock.now(), unit=unit, lost=True))

    async def _read(self, unit: str) -> News | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                note = await self._locks[unit].read_note()
            return msgspec.json.decode(note, type=Note).news if note else None
        except (LeaseUnavailable, LeaseLost, TimeoutError, msgspec.DecodeError):
            return None


class Herald:
    """Words the news of the unit we lead. ``told``: what fails now; None while we do not see it ourselves."""

    def __init__(
        self, epoch: int, clock: Clock, told: Callable[[], Awaitable[tuple[Neighbour, ...] | None]]
    ) -> None:
        self._epoch = epoch
        self._clock = clock
        self._told = told
        self._news: News | None = None
        self._at = 0.0

    async def news(self) -> News | None:
        """As they are to stand beside the lease now; the same object as long as there is nothing new to say."""
        failing, now, last = await self._told(), self._clock.monotonic(), self._news
        if failing is None:
            return last
        if last is None or failing != last.failing or now - self._at >= BEAT_S:
            beat = last.beat + 1 if last is not None else 1
            self._news, self._at = News(epoch=self._epoch, beat=beat, failing=failing), now
        return self._news
