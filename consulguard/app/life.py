"""A process's life: serve until asked to end, wait where the journal's disk is full, end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from consulguard.app import holding
from consulguard.app.dead_man import DeadMan, Limits, Pulse, WatchedSelector
from consulguard.app.receivers import notifiers
from consulguard.app.service import doors, drained, standing
from consulguard.clock import SystemClock
from consulguard.config import Loaded
from consulguard.errors import StoreFull, StoreUnavailable
from consulguard.serve import Sights

PARK_S = 20.0  # for what is under way when we are asked to end; supervisors kill after 30


def serve(loaded: Loaded, *, once: bool = False, within_s: float | None = None) -> None:
    """``run`` as a process of its own, under the dead-man switch. ``within_s``: TimeoutError after so long.

    Raises ConfigError, StoreUnavailable, StoreCorrupt.
    """
    limits, clock = loaded.config.server.dead_man, SystemClock()
    watched = Limits(loop_s=limits.loop_lag, append_s=limits.append, silence_s=limits.silence)
    dead_man = DeadMan(clock, Pulse(), watched)

    async def within() -> None:
        async with asyncio.timeout(within_s):
            await run(loaded, once=once, dead_man=dead_man)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(WatchedSelector(dead_man))) as runner:
        runner.run(within())


async def run(loaded: Loaded, *, once: bool = False, dead_man: DeadMan | None = None) -> None:
    """Serve until SIGTERM or SIGINT. With ``once``: until the mesh was read once and its news delivered.

    What is under way at the signal may end first; a second one breaks it off. SIGHUP reads the playbooks again.
    A daemon whose disk fills up while it works says so, does nothing, and begins anew when there is room: it
    replays, and acts again only when a person resumes. Raises ConfigError, StoreUnavailable, StoreCorrupt.
    """
    held, alarm = "", holding.Alarm(lambda: notifiers(loaded, SystemClock()), SystemClock())
    with _signals() as asked:
        while not asked.stop.is_set():
            stood = asyncio.Event()
            try:
                async with standing(loaded, held=held, dead_man=dead_man) as service:
                    stood.set()
                    await alarm.over()
                    asked.reload = service.reloader.now
                    await (service.daemon.seen_all.wait() if once else asked.stop.wait())
                    if once:
                        await drained(service)
                    await service.daemon.park(PARK_S, asked.hurry.is_set)
                    return
            except StoreUnavailable as error:
                full = isinstance(error, StoreFull)
                if once or not (stood.is_set() or (held and full)):
                    raise
                if stood.is_set():
                    await alarm.sound(error)
                if not full:
                    raise
                held, stopped_at = str(error), SystemClock().now().timestamp()
            asked.reload = _nothing
            async with doors(loaded, holding.refusing(held), Sights(health=partial(holding.health, stopped_at))):
                await holding.room(loaded, asked.stop)


def _nothing() -> None:
    return None


@dataclass(slots=True)
class _Asked:
    """What signals have asked of us: the first SIGTERM or SIGINT, the second, and SIGHUP."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    reload: Callable[[], None] = _nothing

    def end(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()


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
