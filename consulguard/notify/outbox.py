"""From the journal's outbox to one channel: at its own pace, again after a failure, never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from consulguard.clock import Clock
from consulguard.errors import Final, NotifyUnavailable, StoreUnavailable, Temporary
from consulguard.model import JsonObject, OutboxRow, Value
from consulguard.notify.base import Notifier, Told
from consulguard.notify.crowd import Crowd, CrowdStore

log = structlog.get_logger(__name__)


class OutboxStore(CrowdStore, Protocol):
    """The part of a journal this room needs."""

    async def outbox_due(self, channel: str, limit: int) -> list[OutboxRow]: ...

    async def outbox_sent(
        self, row: OutboxRow, ref: JsonObject, *, lines: int | None = None, done: bool = True
    ) -> None: ...

    async def outbox_failed(
        self, row: OutboxRow, reason: str, retry_at: datetime | None, ref: JsonObject | None = None
    ) -> None: ...


class OutboxSettings(Value, frozen=True, kw_only=True):
    interval_s: float = 1.0  # between two messages: Slack allows a channel about one per second
    timeout_s: float = 30.0  # one delivery; longer counts as not told
    backoff_s: float = 2.0  # after the first failure; doubled with each further one
    backoff_max_s: float = 300.0
    idle_s: float = 60.0  # looks at the outbox at least this often, even if nobody pokes
    crowd: int = 0  # more new incidents than this, waiting, are told together; 0: always one by one
    board_s: float = 0.0  # between two edits of the board; 0: no board


DEFAULTS = OutboxSettings()


class Pace:
    """When a channel may be told something again. Receivers that tell the same channel share one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._not_before = clock.monotonic()

    def wait_s(self) -> float:
        """Seconds to wait; 0 or less: now."""
        return self._not_before - self._clock.monotonic()

    def rest(self, seconds: float) -> None:
        """Nothing more for so long."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)


# What a careless plug-in lets through. It delays its own channel, and nothing else.
PLUGIN_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class OutboxWorker:
    """Delivers the rows of one channel. ``random`` gives 0 <= x < 1 and spreads the retries of many processes."""

    def __init__(
        self,
        store: OutboxStore,
        notifier: Notifier,
        clock: Clock,
        random: Callable[[], float],
        settings: OutboxSettings = DEFAULTS,
        observe: Callable[[OutboxRow, str], None] = lambda row, failed: None,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._random = random
        self._settings = settings
        self._observe = observe
        self._poked = asyncio.Event()
        self.pace = Pace(clock)  # its own, until it is given one to share
        self._crowd = Crowd(store, notifier.name, clock, most=settings.crowd, every_s=settings.board_s)
        self._owed: tuple[OutboxRow, Told] | None = None  # told, but not yet noted in the store
        self.counts = {"sent": 0, "failed": 0, "given_up": 0}

    def poke(self) -> None:
        """Something was put into the outbox."""
        self._poked.set()

    async def run(self) -> None:
        """Until cancelled. A store that cannot be used is asked again later."""
        trouble = 0
        while True:
            try:
                pause = await self.turn()
                trouble = 0
            except StoreUnavailable as error:
                trouble += 1
                pause = self._backoff(trouble)
                log.warning("notify.outbox_unavailable", channel=self._notifier.name, reason=str(error))
            await self._rest(pause)

    async def turn(self) -> float:
        """Deliver what is due, at most one message; returns how many seconds may pass until the next turn."""
        news = self._poked.is_set()
        self._poked.clear()
        await self._note()
        await self._crowd.fold()
        again = await self._crowd.refresh(news=news)
        return min(again, await self._next())

    async def _next(self) -> float:
        wait = self.pace.wait_s()
        if wait > 0:
            return wait
        rows = await self._store.outbox_due(self._notifier.name, 1)
        if not rows:
            return self._settings.idle_s
        row = rows[0]
        if row.retry_at is not None:
            early = (row.retry_at - self._clock.now()).total_seconds()
            if early > 0:
                return min(early, self._settings.idle_s)
        self.pace.rest(self._settings.interval_s)
        await self._deliver(row)
        return max(0.0, self.pace.wait_s())

    async def _deliver(self, row: OutboxRow) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                told = await self._notifier.deliver(row)
        except Temporary as error:
            limited = isinstance(error, NotifyUnavailable) and error.retry_after_s > 0
            self._observe(row, "limited" if limited else "unavailable")
            await self._later(row, error)
        except TimeoutError:
            self._observe(row, "timeout")
            await self._later(row, NotifyUnavailable(f"no answer within {self._settings.timeout_s:g} s"))
        except PLUGIN_ERRORS as error:
            self._observe(row, "error")
            await self._later(row, NotifyUnavailable(f"{type(error).__name__} in the notifier: {error}"))
        except Final as error:
            self._observe(row, "refused")
            self.counts["given_up"] += 1
            log.warning("notify.refused", channel=row.channel, key=row.key, reason=str(error))
            await self._store.outbox_failed(row, str(error), None)
        else:
            said = told if isinstance(told, Told) else Told(ref=told)
            self.counts["sent"] += 1
            self._observe(row, "")
            self._owed = (row, said)
            await self._note()

    async def _note(self) -> None:
        """Kept until the store takes it: else the message would be told a second time."""
        if self._owed is not None:
            row, said = self._owed
            await self._store.outbox_sent(row, said.ref, lines=said.lines, done=said.done)
            self._owed = None
            self._crowd.told(row)

    async def _later(self, row: OutboxRow, error: Temporary) -> None:
        """A wait the channel asks for is for the whole channel; our own back-off is the row's."""
        if not isinstance(error, NotifyUnavailable):
            error = NotifyUnavailable(str(error))
        asked, ref = error.retry_after_s, None if error.ref is None else dict(error.ref)
        if error.for_all:
            self.pace.rest(asked)
        pause = max(asked, self._backoff(row.attempts + 1))
        self.counts["failed"] += 1
        log.warning(
            "notify.failed", channel=row.channel, key=row.key, reason=str(error), retry_in_s=round(pause, 1)
        )
        await self._store.outbox_failed(row, str(error), self._clock.now() + timedelta(seconds=pause), ref)

    def _backoff(self, attempts: int) -> float:
        """Doubled each time up to the cap; between half of it and all of it."""
        whole = min(self._settings.backoff_max_s, self._settings.backoff_s * 2.0 ** min(attempts - 1, 30))
        return whole * (0.5 + self._random() / 2)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._poked.wait()
