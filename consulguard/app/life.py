"""A process's life: serve until asked to end, wait where the journal's disk is full, end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from msgspec import structs

from consulguard.app import holding
from consulguard.app.dead_man import DeadMan, Limits, Pulse, WatchedSelector
from consulguard.app.receivers import notifiers
from consulguard.app.renewal import Renewal
from consulguard.app.service import Service, doors, drained, standing
from consulguard.app.turns import Replica, Turn, beside, first_of
from consulguard.clock import SystemClock
from consulguard.config import Loaded
from consulguard.errors import StoreFull, StoreUnavailable
from consulguard.serve import Sights

UNWRITTEN = "the journal could not be written for a while"
UNWRITABLE = "nothing can be done while the journal cannot be written: {}"
STANDBY = "another replica leads: say it there, or in Slack"
PARK_S = 20.0  # for what is under way when we are asked to end; supervisors kill after 30


def serve(loaded: Loaded, *, once: bool = False, within_s: float | None = None) -> None:
    """``run`` as a process of its own, under the dead-man switch. ``within_s``: TimeoutError after so long.

    A configuration that has changed is lived by in a new life. Raises ConfigError, StoreUnavailable, StoreCorrupt.
    """
    following: Loaded | None = loaded
    while following is not None:
        following = _life(following, once=once, within_s=within_s)


def _life(loaded: Loaded, *, once: bool, within_s: float | None) -> Loaded | None:
    limits, clock = loaded.config.server.dead_man, SystemClock()
    watched = Limits(loop_s=limits.loop_lag, append_s=limits.append, silence_s=limits.silence)
    dead_man = DeadMan(clock, Pulse(), watched)

    async def within() -> Loaded | None:
        async with asyncio.timeout(within_s):
            return await run(loaded, once=once, dead_man=dead_man)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(WatchedSelector(dead_man))) as runner:
        return runner.run(within())


async def run(loaded: Loaded, *, once: bool = False, dead_man: DeadMan | None = None) -> Loaded | None:
    """Serve until SIGTERM or SIGINT. With ``once``: until the mesh was read once and its news delivered.

    What is under way at the signal may end first; a second one breaks it off. SIGHUP reads all files again; a
    changed configuration ends this life as well, and is returned.
    A daemon whose disk fills up while it works says so, does nothing, and begins anew when there is room: it
    replays, and acts again only when a person resumes. One of several replicas waits for its turn first, and again
    after each. Raises ConfigError, StoreUnavailable, StoreCorrupt.
    """
    clock = SystemClock()  # one for all: what is journaled must not go back
    held, alarm = "", holding.Alarm(lambda: notifiers(loaded, clock), clock)
    with _signals() as asked:
        renewal = Renewal(loaded, asked.renew, clock)
        async with contextlib.aclosing(Replica(loaded, clock)) as replica:
            while not asked.stop.is_set():
                stood = asyncio.Event()
                try:
                    async with replica.turn(asked.stop, partial(_standby, loaded, renewal, asked)) as turn:
                        if turn is not None:
                            mine = replace(turn, held=held, renewal=renewal)
                            leading = standing(loaded, clock, dead_man=dead_man, turn=mine)
                            async with leading as service, replica.remembering(service.store):
                                stood.set()
                                await alarm.over()
                                await _lead(service, turn, asked, once=once)
                    continue
                except StoreUnavailable as error:
                    if replica.was_lost:  # somebody else writes it now
                        continue
                    full = isinstance(error, StoreFull)
                    if once or not (stood.is_set() or (held and full)):
                        raise
                    if stood.is_set():
                        await alarm.sound(error)
                    if not full:
                        raise
                    held, stopped_at = f"{UNWRITTEN} ({error})", clock.now().timestamp()
                await _wait_for_room(loaded, held, stopped_at, asked.stop)
    return None if asked.ended else asked.next


async def _wait_for_room(loaded: Loaded, held: str, stopped_at: float, stop: asyncio.Event) -> None:
    """Alive, not ready, and every command is answered with the reason."""
    waiting = Sights(health=partial(holding.health, stopped_at))
    async with doors(loaded, holding.refusing(UNWRITABLE.format(held)), waiting):
        await holding.room(loaded, stop)


async def _lead(service: Service, turn: Turn, asked: _Asked, *, once: bool) -> None:
    """Until we are asked to end, which is done in good order, or the lease is lost, which is not."""
    asked.reload = service.reloader.now
    goal = service.daemon.seen_all if once else asked.stop
    try:
        await first_of(goal.wait(), turn.over())
    finally:
        asked.reload = _nothing
    if not goal.is_set():
        return
    if once:
        await drained(service)
    await service.daemon.park(PARK_S, asked.hurry.is_set)
    asked.stop.set()


@contextlib.asynccontextmanager
async def _standby(loaded: Loaded, renewal: Renewal, asked: _Asked) -> AsyncIterator[None]:
    """The doors of a replica that waits for its turn: ready to lead, and nobody to give orders to."""
    began = SystemClock().now().timestamp()
    waiting = holding.refusing(STANDBY)
    sights = Sights(
        health=lambda: structs.replace(
            holding.health(began), ready=True, paused=False, config_stale=bool(renewal.wrong)
        ),
        reload=renewal.reload if loaded.config.server.reload else None,
    )
    asked.reload = renewal.now
    try:
        async with doors(loaded, waiting, sights), beside(renewal.run()):
            yield
    finally:
        asked.reload = _nothing


def _nothing() -> None:
    return None


@dataclass(slots=True)
class _Asked:
    """What signals have asked of us: the first SIGTERM or SIGINT, the second, and SIGHUP; and changed settings."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)  # this life
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    reload: Callable[[], None] = _nothing
    ended: bool = False  # by a signal: no life follows
    next: Loaded | None = None

    def end(self) -> None:
        (self.hurry if self.ended else self.stop).set()
        self.ended = True

    def renew(self, loaded: Loaded) -> None:
        self.next = loaded
        self.stop.set()


@contextlib.contextmanager
def _signals() -> Iterator[_Asked]:
    asked, loop = _Asked(), asyncio.get_running_loop()
    handlers = {signal.SIGTERM: asked.end, signal.SIGINT: asked.end, signal.SIGHUP: lambda: asked.reload()}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield asked
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
