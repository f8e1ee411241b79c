"""Replicas take turns: one leads, the others read its journal along and wait for the lease."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from consulguard import registry
from consulguard.app.dead_man import Pulse
from consulguard.app.neighbours import Herald, News
from consulguard.app.past import Fold
from consulguard.app.reload import Look
from consulguard.clock import Clock
from consulguard.config import Loaded, settings, units
from consulguard.config import coordinate as given
from consulguard.coordinate import Lease, LeaseSettings, Lock, SharedLease
from consulguard.errors import (
    ConfigError,
    LeaseLost,
    LeaseUnavailable,
    StoreCorrupt,
    StoreSilent,
    StoreUnavailable,
)
from consulguard.journal import JournalSettings, Mark, Store
from consulguard.model import Neighbour

if TYPE_CHECKING:
    from consulguard.serve import Sights  # metrics with it: too heavy for verbs that only read

Waiting = Callable[[], contextlib.AbstractAsyncContextManager[None]]
Told = Callable[[], Awaitable[tuple[Neighbour, ...] | None]]
READ_S = 1.0  # between two looks at the leader's journal, and between two marks beside the lease
AGAIN_S = 5.0  # after the journal could not be read, or did not answer who was to lead
log = structlog.get_logger("consulguard.app")


async def _never() -> None:
    await asyncio.Event().wait()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a unit stands among the others of its process. By default it is the only one, and nobody else's."""

    name: str = ""  # the replica's, among the others'; empty: host and process
    ours: Callable[[], bool] = lambda: True  # whether to try for the lease now
    moved: Callable[[], Coroutine[Any, Any, None]] = _never  # returns when another is to have it
    shown: Callable[[Sights], contextlib.AbstractContextManager[None]] = lambda sights: contextlib.nullcontext()
    pulse: Pulse | None = None  # None: the process's own
    neighbours: Callable[[], Mapping[str, Lock]] | None = None  # locks of the other units, to read what they tell


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One time of leading."""

    lease: Lease
    warm: Fold | None = None  # the journal as far as it was read meanwhile
    known: tuple[Mark, ...] = ()  # how far it had certainly come
    held: str = ""  # why it only watches until resumed
    renewal: Look | None = None  # looks whether the configuration has changed
    place: Place = Place()

    async def over(self) -> None:
        """Return when the lease is lost: at once where that has happened, never for the only replica."""
        await (self.lease.lost if isinstance(self.lease, SharedLease) else asyncio.Event()).wait()


def alone(clock: Clock) -> Turn:
    """The turn of the only replica."""
    return Turn(lease=registry.load(registry.LEASES, "single")(clock))


def make_folder(loaded: Loaded) -> None:
    """Where journal, mark and socket lie. Raises ConfigError."""
    folder = settings.journal_path(loaded).parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"the journal's folder cannot be made: {error.strerror}", where=str(folder)) from None


def store(
    loaded: Loaded,
    *,
    channels: tuple[str, ...] = (),
    kept: JournalSettings | None = None,
    turn: Turn | None = None,
    readonly: bool = False,
) -> Store:
    """The configured journal. A turn by a shared lease takes it over from its last writer. Raises ConfigError."""
    kind = loaded.config.journal.store
    make = registry.load(registry.STORES, kind)
    shared: dict[str, Any] = {"channels": channels, "settings": kept or JournalSettings(), "readonly": readonly}
    if kind == "sqlite":
        return make(settings.journal_path(loaded), **shared)  # type: ignore[no-any-return]
    made = make(settings.journal_path(loaded), dsn=given.dsn(loaded), **shared)
    leads = turn is not None and isinstance(turn.lease, SharedLease)
    known, schema = turn.known if turn else (), units.schema(loaded)
    return made.shared(take_over=leads, known=known, schema=schema)  # type: ignore[no-any-return]


def lease(loaded: Loaded, clock: Clock, wanted: LeaseSettings) -> SharedLease:
    """Kept where the whole configuration says, whatever the unit it is about."""
    make = registry.load(registry.LEASES, loaded.config.coordinate.backend)
    return make(clock, wanted, lambda: settings.client(units.whole(loaded)))  # type: ignore[no-any-return]


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Until one of them has ended; the others are cancelled. Raises what the first one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Replica:
    """One of several, or the only one."""

    def __init__(self, loaded: Loaded, clock: Clock, place: Place | None = None) -> None:
        self._loaded = loaded
        self._clock = clock
        self._place = place or Place()
        wanted, backend = given.lease(loaded, self._place.name), loaded.config.coordinate.backend
        self._lease: SharedLease | None = None
        self._again = 0.0  # on the monotonic clock: from when on we ask for the lease
        if backend != "single":
            self._lease = lease(loaded, clock, wanted)

    @property
    def was_lost(self) -> bool:
        """Whether the last turn ended because the lease was lost."""
        return self._lease is not None and self._lease.lost.is_set()

    @contextlib.asynccontextmanager
    async def turn(self, stop: asyncio.Event, waiting: Waiting) -> AsyncIterator[Turn | None]:
        """Wait for the lease, reading along; keep it while the block runs, then give it back.

        None: ``stop`` came first. ``waiting``: what is open meanwhile.
        """
        if self._lease is None:
            yield replace(alone(self._clock), place=self._place)
            return
        warm = Fold()
        make_folder(self._loaded)
        registry.load_all(registry.ACTIONS)  # while there is time: whoever takes over has none
        async with contextlib.AsyncExitStack() as leading:
            async with waiting(), beside(self._follow(warm)):
                await first_of(self._lease.gain(self._wanted), stop.wait())
                if not stop.is_set():  # renewed from now on, whatever else takes its time
                    await leading.enter_async_context(self._lease.kept())
            if stop.is_set():
                yield None
                return
            yield Turn(lease=self._lease, warm=warm, known=await self._known(warm), place=self._place)

    def gives_way(self, error: StoreUnavailable) -> bool:
        """Whether to stand by again, the turn having ended before anything was done in it.

        A journal that says nothing may answer another replica: that one has a while to gain the lease.
        """
        if self._lease is None or not isinstance(error, StoreSilent):
            return False
        log.warning("journal_silent", epoch=self._lease.epoch, reason=str(error))
        self._again = self._clock.monotonic() + AGAIN_S
        return True

    def _wanted(self) -> bool:
        return self._place.ours() and self._clock.monotonic() >= self._again

    @contextlib.asynccontextmanager
    async def remembering(self, store: Store, told: Told) -> AsyncIterator[None]:
        """Keep beside the lease how far the journal has come, for whoever leads next, and what other units read.

        ``told``: our failing services; None while we do not see the mesh ourselves.
        """
        if self._lease is None:
            yield
            return
        herald = Herald(self._lease.epoch, self._clock, told) if self._place.neighbours is not None else None
        async with beside(self._remember(self._lease, store, herald)):
            yield

    async def aclose(self) -> None:
        """Give the lease back, if it is ours."""
        if self._lease is not None:
            await self._lease.lock.close()

    async def _follow(self, warm: Fold) -> None:
        """The journal as the leader writes it, so that a take-over has only its end to read."""
        while True:
            reader = store(self._loaded, readonly=True)
            try:
                await reader.open()
                while True:
                    await warm.advance(reader)
                    await asyncio.sleep(READ_S)
            except (StoreUnavailable, StoreCorrupt, ConfigError) as error:
                log.warning("journal_not_followed", reason=str(error))
            finally:
                reader.abandon()
            await asyncio.sleep(AGAIN_S)

    async def _known(self, warm: Fold) -> tuple[Mark, ...]:
        """What we have read ourselves, and what the last leader left beside the lease."""
        assert self._lease is not None
        marks = [Mark(seq=warm.seq, hash=warm.hash)] if warm.hash else []
        try:
            note = await self._lease.lock.read_note()
            marks += [msgspec.json.decode(note, type=Mark)] if note else []
        except (LeaseUnavailable, msgspec.DecodeError) as error:
            log.warning("mark_not_read", reason=str(error))
        return tuple(marks)

    async def _remember(self, lease: SharedLease, store: Store, herald: Herald | None) -> None:
        told: tuple[tuple[int, str], News | None] = ((0, ""), None)
        while True:
            await asyncio.sleep(READ_S)
            try:
                now = await store.last(), await herald.news() if herald is not None else None
                if now != told and not store.behind and lease.holds():
                    mark = msgspec.to_builtins(Mark(seq=now[0][0], hash=now[0][1]))
                    await lease.lock.write_note(msgspec.json.encode({**mark, "news": now[1]} if now[1] else mark))
                    told = now
            except (LeaseUnavailable, LeaseLost, StoreUnavailable, StoreCorrupt) as error:
                log.warning("mark_not_kept", reason=str(error))
