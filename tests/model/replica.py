"""One replica: the real daemon, its journal, its runner and its outbox worker, in a process loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from consulguard.act import ActContext
from consulguard.act.base import ActSettings, HttpHost
from consulguard.app import Daemon, Rooms
from consulguard.consulapi import ConsulClient
from consulguard.coordinate import Lease
from consulguard.errors import StoreUnavailable
from consulguard.events import (
    AnyEvent,
    Learned,
    LeaseChanged,
    Look,
    Looked,
    Observed,
    Reply,
    ViewChanged,
)
from consulguard.journal import Draft, JournalSettings, SqliteStore
from consulguard.journal.session import Session
from consulguard.model import Message, Observation, Status, Target, View
from consulguard.notify import OutboxSettings, OutboxWorker
from consulguard.testing.recording import RecordingNotifier

from tests.model.loop import ProcessLoop
from tests.model.mesh import (
    COUNT,
    INSTANCES,
    KINDS,
    SECRET,
    Fenced,
    Idempotent,
    Once,
    Request,
    World,
    configured,
)
from tests.model.seams import Mutation

T = TypeVar("T")
Point = Callable[[str], None]
CHANNEL = "recording"
SETTLE_S = 2.0
PACE = OutboxSettings(interval_s=0.0, backoff_s=2.0)
JOURNAL = JournalSettings(free_space=0, mark_every_s=30.0)  # each timer is a turn in the model
POINTS = (
    "store.before_commit",
    "store.in_commit",
    "store.after_commit",
    "app.after_journal",
    "app.after_intent",
    "store.before_snapshot",
    "store.after_snapshot",
    "act.before_send",
    "act.after_send",
    "app.before_result",
)


class Killed(BaseException):
    """SIGKILL at this point."""


class Shared(Session):
    """The journal's own session, without the lock that keeps a second process out: several hosts reach it."""

    def __init__(self, path: Path, point: Point) -> None:
        super().__init__(path, (CHANNEL,), JOURNAL, readonly=False)
        self._lock = cast(Any, contextlib.nullcontext())
        self._lock.acquire = self._lock.release = lambda: None
        self._point = point

    def run(self, work: Callable[[sqlite3.Connection], T], doing: str, *, write: bool = False) -> T:
        def cut(con: sqlite3.Connection) -> T:
            done = work(con)
            if doing == "append":
                self._point("store.in_commit")
            return done

        return super().run(cut, doing, write=write)


class Store(SqliteStore):
    """The real store, but on the loop's own thread, with crash points, and slow: others run before and after."""

    def __init__(self, path: Path, point: Point, mutation: Mutation) -> None:
        super().__init__(path, channels=(CHANNEL,), settings=JOURNAL)
        self._session = mutation.session(Shared)(path, point)
        self._mutation = mutation
        self._point = point

    async def open(self) -> None:
        self._session.open()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._session.close()

    def kill(self) -> None:
        """The process is gone; what was not committed is not there."""
        self._session.abandon()

    async def append(self, drafts: Sequence[Draft], outbox: Sequence[Message] = ()) -> int:
        self._point("store.before_commit")
        await slowly()
        seq = await super().append(drafts, outbox)
        await slowly()
        self._point("store.after_commit")
        return seq

    async def save_snapshot(self, seq: int, body: bytes) -> None:
        self._point("store.before_snapshot")
        await slowly()
        await super().save_snapshot(seq, body)
        self._point("store.after_snapshot")

    async def load_snapshot(self) -> tuple[int, bytes] | None:
        found = await super().load_snapshot()
        return (found[0], self._mutation.snapshot(found[1])) if found is not None else None

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return work()

    def _mark(self) -> None:
        self._timer = None
        self._session.mark_or_break()


async def slowly() -> None:
    """Let everybody else have some turns."""
    for _ in range(4):
        await asyncio.sleep(0)


class SimLease(Lease):
    def __init__(self) -> None:
        self.news: asyncio.Queue[LeaseChanged] = asyncio.Queue()

    async def changes(self, last_epoch: int) -> AsyncIterator[LeaseChanged]:
        while True:
            yield await self.news.get()


class SimWatcher:
    """Tells what changed in the world, and now and then that it still sees it.

    ``live``; ``silent``: nothing is told any more, but a look is answered; ``dark``: neither; ``untrusted``: it
    says so.
    """

    def __init__(self, world: World, emit: Callable[[AnyEvent], Any]) -> None:
        self._world, self._emit = world, emit
        self._told: dict[Target, Status] = {}
        self._bell = asyncio.Event()
        self.mode = "live"

    def resume(self, known: Iterable[tuple[Target, str]]) -> None:
        self._told = dict.fromkeys((target for target, _ in known), Status.UNKNOWN)

    def focus(self, targets: Sequence[Target]) -> None:
        """Everything is read at once here."""

    def ring(self) -> None:
        self._bell.set()

    async def run(self) -> None:
        world = self._world
        begun = world.time.seconds
        await self._emit(Learned(at=world.time.now(), facts=world.facts()))
        while True:
            if self.mode in ("live", "untrusted"):
                await self._changes()
                await self._emit(self._view(settled=world.time.seconds >= begun + SETTLE_S))
            await self._bell.wait()
            self._bell.clear()

    async def _changes(self) -> None:
        at, news = self._world.time.now(), []
        for target in INSTANCES:
            status = self._world.truth[target]
            if self._told.get(target, Status.PASSING) is not status:
                self._told[target] = status
                news.append(
                    Observation(
                        target=target,
                        check=f"{target.instance}-http",  # unique on its node
                        status=status,
                        index=self._world.indexes[target],
                        at=at,
                    )
                )
        if news:
            await self._emit(Observed(at=at, observations=tuple(news)))

    def _view(self, *, settled: bool) -> ViewChanged:
        now, trusted = self._world.time.now(), self.mode == "live"
        view = View(
            trusted=trusted,
            reasons=() if trusted else ("leader: none",),
            services=len(KINDS),
            instances=len(INSTANCES),
            nodes=COUNT,
            as_of=now,
            settled=settled,
        )
        return ViewChanged(at=now, view=view)

    async def look(self, look: Look) -> Looked:
        world, at = self._world, self._world.time.now()
        if self.mode == "dark":
            return Looked(at=at, key=look.key, target=look.target, error="no answer from Consul")
        return Looked(
            at=at,
            key=look.key,
            target=look.target,
            status=world.truth[look.target],
            healthy=world.healthy(look.target.service),
            registered=COUNT,
            index=world.index,
        )


class Replica:
    """Off, running or stopped (SIGSTOP). Whatever happens inside happens in ``drain``."""

    def __init__(self, name: str, world: World, journal: Path, mutation: Mutation) -> None:
        self.name, self.world, self.journal, self.mutation = name, world, journal, mutation
        self.loop: ProcessLoop | None = None
        self.lives = 0
        self.stopped = False
        self.killed = False
        self.armed = ("", 0, "kill")
        self.ended: BaseException | None = None
        self.passed: dict[str, int] = {}
        self.replies: list[Reply] = []
        self.channel = RecordingNotifier(CHANNEL)
        self.on_send: Callable[[Request], None] = lambda request: None

    # ---- life

    @property
    def up(self) -> bool:
        return self.loop is not None

    @property
    def running(self) -> bool:
        return self.up and not self.stopped

    def boot(self) -> None:
        self.lives += 1
        self.loop = ProcessLoop(self.world.time)
        self.stopped, self.killed, self.armed, self.ended = False, False, ("", 0, "kill"), None
        self.store = Store(self.journal, self.point, self.mutation)
        self.lease = SimLease()
        self.daemon = self.mutation.daemon(Daemon)(self._rooms())
        self._worker = OutboxWorker(self.store, self.channel, self.world.time, lambda: 0.5, PACE)
        self._life = self.loop.create_task(self._live())
        self.drain()

    def _rooms(self) -> Rooms:
        settings = ActSettings(allowed_hosts=(HttpHost(url="http://target", headers={"Authorization": SECRET}),))
        return Rooms(
            clock=self.world.time,
            store=self.store,
            watcher=cast(Any, self._watching),
            actions={a.name: a(self.world, self.name, self._send) for a in (Fenced, Idempotent, Once)},
            context=ActContext(
                consul=cast(ConsulClient, None),
                clock=self.world.time,
                settings=settings,
                fence=lambda: self.daemon.epoch(),
                failpoint=self.point,
            ),
            lease=self.lease,
            configured=self.mutation.configured(configured(self.world.time, self.world.version)),
            failpoint=self.point,
            told=lambda: self._worker.poke(),
            step=self.mutation.step,
        )

    def _watching(self, emit: Callable[[AnyEvent], Any]) -> SimWatcher:
        self.emit = emit
        self.watcher = SimWatcher(self.world, emit)
        return self.watcher

    async def _live(self) -> None:
        async with self.store, asyncio.TaskGroup() as group:
            group.create_task(self.daemon.run(), name="daemon")
            group.create_task(self._worker.run(), name="outbox")

    def point(self, name: str) -> None:
        """A place where the process may die or stall, once it is armed for it."""
        if self.killed:
            raise Killed(name)
        self.passed[name] = self.passed.get(name, 0) + 1
        wanted, left, how = self.armed
        if wanted != name:
            return
        self.armed = (wanted if left > 1 else "", left - 1, how)
        if left <= 1 and how == "stall":
            assert self.loop is not None
            self.stopped = self.loop.frozen = True
        elif left <= 1:
            self._die()
            raise Killed(name)

    def _die(self) -> None:
        self.killed = True
        self.store.kill()

    def crash(self) -> None:
        """kill -9, now."""
        if self.up:
            self._die()
            self._bury()

    def drain(self) -> None:
        """Do all there is to do; a process that was killed or has ended on the way is buried."""
        if not self.running:
            return
        assert self.loop is not None
        self.loop.drain()
        if self.killed or self._life.done():
            self._bury()

    def _bury(self) -> None:
        assert self.loop is not None
        loop, self.loop = self.loop, None
        if self._life.done() and not self._life.cancelled():
            self.ended = self._life.exception()
        loop.end()
        self.stopped = False
        if not self.killed:
            self._must_be_the_journal(self.ended)

    def _must_be_the_journal(self, error: BaseException | None) -> None:
        """A daemon ends by itself for one reason only: the journal does not take its word."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, StoreUnavailable):
            raise error if error is not None else AssertionError("the daemon ended by itself")

    # ---- doors

    def _send(self, request: Request) -> None:
        if self.killed:
            raise Killed("send")
        self.on_send(request)
        self.world.requests.append(request)

    def tell(self, event: AnyEvent) -> None:
        """An event from outside reaches the inbox."""
        assert self.loop is not None
        self.loop.create_task(self.emit(event))

    def command(self, name: str, who: str, **args: object) -> None:
        assert self.loop is not None

        async def say() -> None:
            reply = await self.daemon.command(name, dict(args), who)
            if reply is not None:
                self.replies.append(reply)

        self.loop.create_task(say())
