"""The raft index of the twin, the index of each table, and who waits for what.

A *topic* is what a blocking query sleeps on. Writes name the topics they touch; every waiter of a touched topic
wakes, looks again and may go back to sleep, as Consul's own blocking queries do.
"""

from __future__ import annotations

import asyncio
import enum
from collections import defaultdict
from collections.abc import Iterable


class Woken(enum.Enum):
    LOOK = "look"  # something was written: look again
    LATE = "late"  # the wait is over
    ABANDONED = "abandoned"  # the store was replaced: answer with what was seen before
    LOST = "lost"  # the leader is gone: answer with an error


class Hub:
    def __init__(self) -> None:
        self.index = 10
        self._tables: dict[str, int] = defaultdict(int)
        self._waiting: dict[str, set[asyncio.Future[Woken]]] = defaultdict(set)

    def write(self, *tables: str) -> int:
        """A new raft entry that changes ``tables``; returns its index."""
        self.index += 1
        for table in tables:
            self._tables[table] = self.index
        return self.index

    def table(self, *tables: str) -> int:
        """The highest index of these tables, never less than 1."""
        return max(1, *(self._tables[t] for t in tables))

    def touch(self, topics: Iterable[str]) -> None:
        if not self._waiting:
            return
        for topic in topics:
            for future in self._waiting.get(topic, ()):
                _settle(future, Woken.LOOK)

    def wake_all(self, why: Woken) -> None:
        for futures in list(self._waiting.values()):
            for future in futures:
                _settle(future, why)

    async def wait(self, topics: Iterable[str], timeout_s: float) -> Woken:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Woken] = loop.create_future()
        names = tuple(topics)
        for name in names:
            self._waiting[name].add(future)
        timer = loop.call_later(max(0.0, timeout_s), _settle, future, Woken.LATE)
        try:
            return await future
        finally:
            timer.cancel()
            for name in names:
                self._waiting[name].discard(future)
                if not self._waiting[name]:
                    del self._waiting[name]

    @property
    def waiting(self) -> int:
        """How many blocking queries sleep now."""
        return len({future for futures in self._waiting.values() for future in futures})

    def go_back(self, to: int) -> None:
        """As after the restore of an older snapshot: every index falls to at most ``to``."""
        self.index = max(1, to)
        for table, index in self._tables.items():
            self._tables[table] = min(index, self.index)


def _settle(future: asyncio.Future[Woken], why: Woken) -> None:
    if not future.done():
        future.set_result(why)
