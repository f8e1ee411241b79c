"""The work shared out: who of the replicas there are tries for which unit, and gives which one away.

The ring is a matter of order, the leases are what is safe: whatever is believed here, a unit is led by its lease's
holder alone. So a replica tries at once for what the ring says is its own, gives away only what has been another's
for a while, and while it does not know who is there it keeps what it has and tries for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from consulguard import registry
from consulguard.app.dead_man import Pulse
from consulguard.app.service import http_door
from consulguard.app.turns import Place, lease
from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.config import coordinate as given
from consulguard.coordinate import Alive, LeaseSettings, Lock, Members, Unit, owner
from consulguard.errors import ConfigError, LeaseUnavailable
from consulguard.serve import Several

LOOK_S = 1.0  # between two looks at who is there
ANSWER_S = 10.0
MARGIN_S = 1.0  # as with the lease: we believe less long in ourselves than the others may
START_S = 3.0  # after joining, before anything is tried for: replicas that start together see each other first
GIVE_AWAY_S = 10.0  # the same replicas for this long: one that comes and goes moves nothing to and fro
log = structlog.get_logger("consulguard.shards")


class Ring:
    """Who is there, as this replica sees it, and what of the work is its own."""

    def __init__(self, members: Members, name: str, clock: Clock) -> None:
        self.name = name
        self._members = members
        self._clock = clock
        self._alive: Alive = {}
        self._since = 0.0  # the members are these since then
        self._seen_until = 0.0  # so long what was seen is good
        self._here_until = 0.0  # so long the others have us among them
        self._due = 0.0  # when to say again that we are here
        self._joined: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until ``stop``, then leave at once: the others need not wait for what we still end."""
        told = ""
        while not stop.is_set():
            try:
                async with asyncio.timeout(ANSWER_S):
                    wrong = await self._look()
            except (LeaseUnavailable, TimeoutError) as error:
                wrong = str(error) or "no answer"
            if wrong and wrong != told:
                log.warning("members_not_known", reason=wrong)
            told = wrong
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
        await self._members.close()

    def ours(self, unit: str) -> bool:
        """Whether to try for its lease."""
        begun = self._joined is not None and self._clock.monotonic() >= self._joined + START_S
        return begun and self._knows() and owner(unit, self._alive) == self.name

    async def moved(self, unit: str) -> None:
        """Return when another has been its owner long enough for it to be given away."""
        while not self._given_away(unit):
            await asyncio.sleep(LOOK_S)
        log.info("unit_given_away", unit=unit, to=owner(unit, self._alive))

    def _given_away(self, unit: str) -> bool:
        lasts = self._clock.monotonic() - self._since >= GIVE_AWAY_S
        return lasts and self._knows() and owner(unit, self._alive) not in (None, self.name)

    def _knows(self) -> bool:
        """Whether we are one of them, and have seen them not long ago."""
        return self.name in self._alive and self._clock.monotonic() < min(self._seen_until, self._here_until)

    async def _look(self) -> str:
        """Say that we are here when it is time, and see who else is. Why that cannot be; empty: it is done."""
        sent = self._clock.monotonic()
        if sent >= self._due:
            if not await self._members.stay():
                return f"another replica is there as {self.name}: give each its own coordinate.member"
            self._here_until = sent + self._members.valid_s - MARGIN_S
            self._due = sent + self._members.renew_s
            self._joined = sent if self._joined is None else self._joined
        sent = self._clock.monotonic()
        seen = await self._members.alive()
        self._seen_until = sent + self._members.valid_s - MARGIN_S
        if self.name not in seen:
            self._due = 0.0
        if seen != self._alive:
            self._alive, self._since = seen, sent
            log.info("members_changed", members=sorted(seen))
        return ""


def member_name(loaded: Loaded) -> str:
    """Ours among the replicas: the configured one, or one that nobody else has."""
    by_chance = f"{socket.gethostname()[:40]}.{os.getpid()}.{secrets.token_hex(3)}"
    return loaded.config.coordinate.member or by_chance


def members_of(loaded: Loaded, clock: Clock, wanted: LeaseSettings) -> Members:
    """What the configured backend keeps members with. Raises ConfigError."""
    backend = loaded.config.coordinate.backend
    if backend not in registry.names(registry.MEMBERS):
        raise ConfigError(f"{backend} keeps no list of members, so it cannot share units out", where="coordinate")
    make = registry.load(registry.MEMBERS, backend)
    return make(clock, wanted, lambda: settings.client(loaded))  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def places(
    loaded: Loaded, views: Sequence[Loaded], clock: Clock
) -> AsyncIterator[tuple[Callable[[asyncio.Event], Coroutine[Any, Any, None]], list[Place]]]:
    """A place for each unit, one door for all of them, and what keeps us a member until an event is set."""
    units = [view.unit for view in views if view.unit is not None]
    name = member_name(loaded)
    door = Several([unit.told for unit in units], reload=loaded.config.server.reload)
    if loaded.config.coordinate.backend == "single":  # one unit, and one replica
        async with http_door(loaded, door):
            yield _nobody, [_place(unit, door, None, Place()) for unit in units]
        return
    names = tuple(unit.name for unit in units)
    base = given.lease(loaded, name)
    wanted = LeaseSettings(**{f: getattr(base, f) for f in base.__struct_fields__} | {"units": names})
    ring = Ring(members_of(loaded, clock, wanted), name, clock)
    async with http_door(loaded, door):
        own = [Place(name=name, neighbours=_neighbours(views, view, clock)) for view in views]
        yield ring.run, [_place(unit, door, ring, place) for unit, place in zip(units, own, strict=True)]


def _place(unit: Unit, door: Several, ring: Ring | None, place: Place) -> Place:
    place = replace(place, shown=partial(door.showing, unit.told), pulse=Pulse())
    if ring is None:
        return place
    return replace(place, ours=partial(ring.ours, unit.name), moved=partial(ring.moved, unit.name))


def _neighbours(views: Sequence[Loaded], mine: Loaded, clock: Clock) -> Callable[[], dict[str, Lock]] | None:
    """Makes the other units' locks, to read what their leaders keep beside them; None where there is no other."""
    others = {view.unit.told: view for view in views if view.unit is not None and view is not mine}
    if not others:
        return None
    return lambda: {unit: lease(view, clock, given.lease(view)).lock for unit, view in others.items()}


async def _nobody(stop: asyncio.Event) -> None:
    await stop.wait()


async def together(stop: asyncio.Event, *works: Coroutine[Any, Any, None]) -> None:
    """All of them to their end. Where one fails, the others are asked to end first; what it raised is raised."""

    async def one(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            stop.set()

    done = await asyncio.gather(*(one(work) for work in works), return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
