"""The health feeds: bodies in, observations out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from consulguard.clock import Clock
from consulguard.consulapi import Answer
from consulguard.events import Observed
from consulguard.model import Observation
from consulguard.watch.book import HealthBook, Key, by_key
from consulguard.watch.decode import Check, refuse_duplicate_keys
from consulguard.watch.view import Emit, ViewKeeper

CRITICAL, WARNING = "health/state/critical", "health/state/warning"
ODD = "audit"  # the slow third feed: states Consul does not define are in no set of their own
SLICE = 250  # records taken before other work gets a turn
BATCH = 2500  # observations in one event, so that no single one holds up the journal
LARGE = 1_000_000  # bytes: an answer of this size is read beside the loop


class HealthFeeds:
    """Applies answers one at a time, in the order they came, and emits what they change."""

    def __init__(self, book: HealthBook, clock: Clock, view: ViewKeeper, emit: Emit) -> None:
        self.book = book
        self.lock = asyncio.Lock()
        self._clock = clock
        self._view = view
        self._emit = emit
        self._held: list[Observation] = []  # until every feed has been read: the first batch is the whole
        self._told_whole = False
        self.on_left: Callable[[Iterable[Key]], None] = lambda keys: None
        self.on_trouble: Callable[[Iterable[Observation]], None] = lambda seen: None

    async def apply(self, feed: str, answer: Answer) -> None:
        """Take one feed's whole answer. Raises BadAnswer, and changes nothing, unless it is a list of checks."""
        async with self.lock:
            large = len(answer.body) > LARGE
            found, twice = await asyncio.to_thread(_read, answer) if large else _read(answer)
            await self._apply(feed, found, twice)

    async def take(self, feed: str, checks: list[Check]) -> None:
        """The same for decoded checks."""
        async with self.lock:
            await self._apply(feed, *by_key(checks))

    async def _apply(self, feed: str, found: dict[Key, Check], twice: list[Key]) -> None:
        self._anomalies(feed, twice)
        seen: list[Observation] = []
        for count, observation in enumerate(self.book.changes(feed, found, self._clock.now()), 1):
            seen.append(observation)
            if count % SLICE == 0:
                await asyncio.sleep(0)
        await self.tell(seen)
        self.on_left(self.book.left())

    async def tell(self, seen: list[Observation]) -> None:
        """Emit; before every feed has been read once, hold back: the first batch describes the whole."""
        self._view.not_passing = len(self.book.known)
        self._held += seen
        if not self.book.complete:
            return
        batch, self._held = self._held, []
        if not batch and self._told_whole:
            return
        self._told_whole = True
        for start in range(0, len(batch) or 1, BATCH):
            part = batch[start : start + BATCH]
            await self._emit(Observed(at=self._clock.now(), observations=tuple(part)))
            self.on_trouble(part)

    async def patience(self) -> None:
        """Tell of checks that have had their time to run for the first time."""
        while True:
            await asyncio.sleep(1.0)
            if self.book.waiting:
                async with self.lock:
                    await self.tell(self.book.overdue(self._clock.now()))

    def _anomalies(self, feed: str, twice: list[Key]) -> None:
        source = f"{feed} twice"
        if not twice:
            self._view.clear(source)
            return
        node, check = twice[0][2], twice[0][4]
        self._view.problem(source, f"{feed}: check {check!r} of node {node!r} is there {_times(len(twice))}")


def _read(answer: Answer) -> tuple[dict[Key, Check], list[Key]]:
    checks = answer.json(list[Check])
    for key in ("Node", "CheckID", "Status"):
        refuse_duplicate_keys(answer.body, key, len(checks))
    return by_key(checks)


def _times(extra: int) -> str:
    return "twice" if extra == 1 else f"twice, and {extra - 1} more doubles"
