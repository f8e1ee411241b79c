"""A process's life: serve until asked to end, wait where the journal's disk is full, end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import structlog
from msgspec import structs

from consulguard.app import holding, shards
from consulguard.app.dead_man import DeadMan, Limits, Pulse, WatchedSelector
from consulguard.app.receivers import notifiers
from consulguard.app.renewal import Renewal
from consulguard.app.service import Service, doors, drained, refuse_unusable, standing
from consulguard.app.turns import Place, Replica, Turn, beside, first_of
from consulguard.clock import Clock, SystemClock
from consulguard.config import Loaded, units
from consulguard.config.secrets import open_to_all
from consulguard.errors import StoreFull, StoreSilent, StoreUnavailable
from consulguard.serve import Sights

log = structlog.get_logger("consulguard.app")
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
        for told in open_to_all(following):
            log.warning("secret_is_open", reason=told)
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
    with _signals() as asked:
        process = _Process(
            clock=clock,
            asked=asked,
            renewal=Renewal(loaded, asked.renew, clock),
            dead_man=dead_man,
            once=once,
        )
        found = units.views(loaded)
        for view in found:  # before anybody waits for a turn
            refuse_unusable(view, clock)
        if found[0] is loaded:
            await _live(process, loaded, Place())
        else:
            await _live_together(process, loaded, found)
    return None if asked.ended else asked.next


async def _live_together(process: _Process, loaded: Loaded, found: tuple[Loaded, ...]) -> None:
    """Each unit has a life of its own; what ends one of them for good ends the process."""
    async with shards.places(loaded, found, process.clock) as (member, places):
        lives = [_live(process, view, place) for view, place in zip(found, places, strict=True)]
        await shards.together(process.asked.stop, member(process.asked.stop), *lives)


async def _live(process: _Process, loaded: Loaded, place: Place) -> None:
    """Turn after turn, until we are asked to end."""
    clock, asked, renewal, once = process.clock, process.asked, process.renewal, process.once
    held, alarm = "", holding.Alarm(lambda: notifiers(loaded, clock), clock)
    if loaded.unit is not None:
        structlog.contextvars.bind_contextvars(unit=loaded.unit.told)
    async with contextlib.aclosing(Replica(loaded, clock, place)) as replica:
        while not asked.stop.is_set():
            stood: Service | None = None
            try:
                async with replica.turn(asked.stop, partial(_standby, loaded, process, place)) as turn:
                    if turn is not None:
                        mine = replace(turn, held=held, renewal=renewal)
                        leading = standing(loaded, clock, dead_man=process.dead_man, turn=mine)
                        async with leading as stood, replica.remembering(stood.store, stood.daemon.failing):
                            await alarm.over()
                            await _lead(stood, turn, asked, once=once)
                continue
            except StoreUnavailable as error:
                if replica.was_lost:  # somebody else writes it now
                    continue
                if stood is not None and isinstance(error, StoreSilent) and not stood.daemon.replayed:
                    stood = None  # as if its opening had not been answered
                if not once and stood is None and replica.gives_way(error):
                    continue
                full = isinstance(error, StoreFull)
                if once or (stood is None and not (held and full)):
                    raise
                if stood is not None:
                    await alarm.sound(error)
                if not full:
                    raise
                held, stopped_at = f"{UNWRITTEN} ({error})", clock.now().timestamp()
            await _wait_for_room(loaded, held, stopped_at, asked.stop)


async def _wait_for_room(loaded: Loaded, held: str, stopped_at: float, stop: asyncio.Event) -> None:
    """Alive, not ready, and every command is answered with the reason."""
    waiting = Sights(health=partial(holding.health, stopped_at))
    async with doors(loaded, holding.refusing(UNWRITABLE.format(held)), waiting):
        await holding.room(loaded, stop)


async def _lead(service: Service, turn: Turn, asked: _Asked, *, once: bool) -> None:
    """Until we are asked to end or another is to lead, which is done in good order, or the lease is lost."""
    goal = service.daemon.seen_all if once else asked.stop
    moved = asyncio.Event()

    async def given_away() -> None:
        await turn.place.moved()
        moved.set()

    with asked.reloading(service.reloader.now):
        await first_of(goal.wait(), turn.over(), given_away())
    if not goal.is_set() and not moved.is_set():
        return
    if once:
        await drained(service)
    await service.daemon.park(PARK_S, asked.hurry.is_set)
    if goal.is_set():
        asked.stop.set()


@contextlib.asynccontextmanager
async def _standby(loaded: Loaded, process: _Process, place: Place) -> AsyncIterator[None]:
    """The doors of a replica that waits for its turn: ready to lead, and nobody to give orders to."""
    began, renewal = SystemClock().now().timestamp(), process.renewal
    waiting = holding.refusing(STANDBY)
    sights = Sights(
        health=lambda: structs.replace(
            holding.health(began), ready=True, paused=False, config_stale=bool(renewal.wrong)
        ),
        reload=renewal.reload if loaded.config.server.reload else None,
    )
    with process.asked.reloading(renewal.now), place.shown(sights):
        async with doors(loaded, waiting, sights), beside(renewal.run()):
            yield


@dataclass(slots=True)
class _Asked:
    """What signals have asked of us: the first SIGTERM or SIGINT, the second, and SIGHUP; and changed settings."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)  # this life
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    reloads: list[Callable[[], None]] = field(default_factory=list)
    ended: bool = False  # by a signal: no life follows
    next: Loaded | None = None

    def end(self) -> None:
        (self.hurry if self.ended else self.stop).set()
        self.ended = True

    def renew(self, loaded: Loaded) -> None:
        self.next = loaded
        self.stop.set()

    def reload(self) -> None:
        for look in self.reloads:
            look()

    @contextlib.contextmanager
    def reloading(self, look: Callable[[], None]) -> Iterator[None]:
        """``look`` is called at each SIGHUP while the block runs."""
        self.reloads.append(look)
        try:
            yield
        finally:
            self.reloads.remove(look)


@dataclass(frozen=True, kw_only=True)
class _Process:
    """What all lives in a process share."""

    clock: Clock
    asked: _Asked
    renewal: Renewal
    dead_man: DeadMan | None
    once: bool


@contextlib.contextmanager
def _signals() -> Iterator[_Asked]:
    asked, loop = _Asked(), asyncio.get_running_loop()
    handlers = {signal.SIGTERM: asked.end, signal.SIGINT: asked.end, signal.SIGHUP: asked.reload}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield asked
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
