"""The daemon as a process: its journal, its doors, its notifiers and its calendar, from start to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from consulguard import registry
from consulguard.app import calendar, measures, tracing, turns, wiring
from consulguard.app.daemon import Daemon, Rooms
from consulguard.app.dead_man import DeadMan, Pulse
from consulguard.app.desk import Desk, told
from consulguard.app.failpoints import Failpoints
from consulguard.app.measures import Measures
from consulguard.app.receivers import notifiers, paced
from consulguard.app.reload import Reloader
from consulguard.app.turns import Turn
from consulguard.clock import Clock, SystemClock
from consulguard.config import Loaded, settings
from consulguard.config.chat import chat
from consulguard.consulapi import ConsulClient
from consulguard.coordinate import Lease
from consulguard.errors import ConfigError
from consulguard.events import Configured
from consulguard.journal import JournalSettings, Store
from consulguard.notify import Notifier, OutboxWorker
from consulguard.serve import Control, Health, Heartbeat, HttpDoor, Metrics, Shown, Sights
from consulguard.watch import Watcher

COMMANDS = (
    *("pause", "stop", "resume", "approve", "deny", "rearm", "run"),
    *("ack", "assign", "resolve", "reopen", "silence", "expire"),
)
Handler = Callable[[str, dict[str, Any], str], Awaitable[dict[str, Any]]]
log = structlog.get_logger("consulguard.app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a running daemon is made of; tests and the demo look into it."""

    daemon: Daemon
    store: Store
    workers: tuple[OutboxWorker, ...]
    reloader: Reloader


def journal(loaded: Loaded, channels: tuple[str, ...], turn: Turn | None = None) -> Store:
    """The journal's store, its folder made if it is missing. Raises ConfigError."""
    turns.make_folder(loaded)
    kept = JournalSettings(free_space=loaded.config.journal.min_free)
    return turns.store(loaded, channels=channels, kept=kept, turn=turn)


async def drained(service: Service) -> None:
    """Return when the outbox has nothing left to deliver now."""
    # The workers own the outbox; there is no event to wait for.
    while any(n for key, n in (await service.store.outbox_counts()).items() if key.endswith("/pending")):
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def standing(
    loaded: Loaded, clock: Clock | None = None, *, dead_man: DeadMan | None = None, turn: Turn | None = None
) -> AsyncIterator[Service]:
    """A daemon at work until the block is left. No ``dead_man``: nobody watches it. No ``turn``: it is alone."""
    clock = clock or SystemClock()
    turn = turn or turns.alone(clock)
    dead_man, pulse, watched = _guarded(dead_man, turn, clock)
    given, channels = _given(loaded, clock), notifiers(loaded, clock)
    store = journal(loaded, tuple(c.name for c in channels), turn)
    client, measured = _client(loaded, clock)
    failpoint = Failpoints(os.environ.get("CONSULGUARD_FAILPOINT", ""))
    fence = _fence(dead_man, turn.lease, lambda: daemon.epoch())
    async with _open(store, client, channels), tracing.tracing(loaded, clock, measured.metrics) as traced:
        workers = paced(store, channels, clock, measured.delivered, loaded)
        rooms = Rooms(
            clock=clock,
            store=store,
            watcher=lambda emit: Watcher(client, clock, settings.watch_settings(loaded), emit),
            calls=wiring.calls(loaded, clock),
            knocker=wiring.knocker(loaded, client, clock),
            neighbours=turn.place.neighbours,
            actions=wiring.actions(),
            context=wiring.context(loaded, client, clock, fence, failpoint),
            lease=turn.lease,
            warm=turn.warm,
            configured=given,
            failpoint=failpoint,
            told=lambda: _poke(workers),
            held=turn.held,
            pulse=pulse,
            turned=measured.turned,
            traced=traced,
        )
        daemon = Daemon(rooms)
        reloader = Reloader(loaded, given, daemon.reconfigure, clock, turn.renewal)
        sights = _sights(loaded, daemon, measured.metrics, reloader)
        with watched, turn.place.shown(sights):
            async with _at_work(daemon, workers, reloader, loaded, sights):
                yield Service(daemon=daemon, store=store, workers=workers, reloader=reloader)


def _guarded(
    dead_man: DeadMan | None, turn: Turn, clock: Clock
) -> tuple[DeadMan, Pulse, contextlib.AbstractContextManager[None]]:
    """Who watches the loop, what it watches, and while what is entered. Without a dead man nobody does."""
    pulse = turn.place.pulse or (dead_man.pulse if dead_man is not None else Pulse())
    if dead_man is None:
        return DeadMan(clock, pulse), pulse, contextlib.nullcontext()
    return dead_man, pulse, dead_man.armed(pulse)


@contextlib.asynccontextmanager
async def _at_work(
    daemon: Daemon, workers: tuple[OutboxWorker, ...], reloader: Reloader, loaded: Loaded, sights: Sights
) -> AsyncIterator[None]:
    open_doors = doors(loaded, _handler(loaded, daemon), sights)
    async with open_doors, _tasks(daemon, workers, reloader, loaded), _chatting(loaded, daemon):
        yield


@contextlib.asynccontextmanager
async def _chatting(loaded: Loaded, daemon: Daemon) -> AsyncIterator[None]:
    """People may speak while the block runs, where chat is set up. Raises ConfigError."""
    chosen = chat(loaded)
    if chosen is None:
        yield
        return
    from consulguard.app.chat import chatting

    async with chatting(chosen, loaded, daemon):
        yield


def refuse_unusable(loaded: Loaded, clock: Clock) -> None:
    """Make what a daemon is made of, and open nothing. Raises ConfigError where a start would."""
    _given(loaded, clock)
    notifiers(loaded, clock)
    turns.Replica(loaded, clock)
    journal(loaded, ())
    settings.client(loaded)
    settings.act_settings(loaded)
    settings.knocking(loaded)
    settings.access(loaded)
    settings.heartbeat_url(loaded)
    tracing.refuse_unusable(loaded)
    if chat(loaded) is not None:  # heavy: only for those who use it, and not while a replica takes over
        importlib.import_module("consulguard.app.chat")


def _client(loaded: Loaded, clock: Clock) -> tuple[ConsulClient, Measures]:
    client, measured = settings.client(loaded), Measures(Metrics(), clock)
    client.asked = measured.asked
    return client, measured


def _fence(dead_man: DeadMan, lease: Lease, epoch: Callable[[], int]) -> Callable[[], int]:
    """The epoch in which an effect may leave now; 0: none may."""
    return lambda: 0 if dead_man.stuck() or not lease.sends() else epoch()


def _given(loaded: Loaded, clock: Clock) -> Configured:
    """What the files say. Raises ConfigError also where one playbook cannot be used."""
    registry.refuse_old_consul_client()
    given, broken = wiring.configured(loaded, clock.now())
    wiring.refuse_broken(broken)
    return given


@contextlib.asynccontextmanager
async def _open(store: Store, client: ConsulClient, channels: list[Notifier]) -> AsyncIterator[None]:
    await store.open()
    try:
        yield
    finally:
        await store.close()
        await client.close()
        for channel in channels:
            await channel.close()


def _poke(workers: tuple[OutboxWorker, ...]) -> None:
    for worker in workers:
        worker.poke()


@contextlib.asynccontextmanager
async def _tasks(
    daemon: Daemon, workers: tuple[OutboxWorker, ...], reloader: Reloader, loaded: Loaded
) -> AsyncIterator[None]:
    """Everything that runs beside the caller; the first failure ends all and is raised here."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(daemon.run(), name="daemon")]
            tasks += [group.create_task(w.run(), name="outbox") for w in workers]
            tasks.append(group.create_task(reloader.run(), name="reload"))
            if (url := settings.heartbeat_url(loaded)) is not None:
                tasks.append(group.create_task(_heartbeat(loaded, daemon, url.get).run(), name="heartbeat"))
            with calendar.running(daemon, loaded):
                yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as group_error:
        raise _first(group_error) from None


def _heartbeat(loaded: Loaded, daemon: Daemon, url: Callable[[], str]) -> Heartbeat:
    given = loaded.config.notify

    def healthy() -> bool:
        return daemon.turned_ago_s < daemon.silence_s and daemon.seen_all.is_set()

    return Heartbeat(url, method=given.heartbeat_method, every_s=given.heartbeat_interval, healthy=healthy)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _handler(loaded: Loaded, daemon: Daemon) -> Handler:
    desk = Desk(daemon.command, settings.access(loaded))

    async def handle(command: str, args: dict[str, Any], who: str) -> dict[str, Any]:
        if command not in COMMANDS:
            raise ConfigError(f"unknown command {command!r}")
        args.pop("dry_run", None)  # a dry run is never the daemon's
        return told(await desk.say_locally(command, args, who))

    return handle


@contextlib.asynccontextmanager
async def doors(loaded: Loaded, handle: Handler, sights: Sights) -> AsyncIterator[None]:
    control = Control(settings.socket_path(loaded), handle)
    try:
        await _listen(control, settings.socket_path(loaded), "beside journal.path")
        async with http_door(loaded, sights):
            yield
    finally:
        await control.stop()


@contextlib.asynccontextmanager
async def http_door(loaded: Loaded, sights: Shown) -> AsyncIterator[None]:
    """Open while the block runs, where it has an address. Raises ConfigError."""
    listen = loaded.config.server.listen
    if not listen:
        yield
        return
    door = HttpDoor(listen, sights)
    try:
        await _listen(door, listen, "server.listen")
        yield
    finally:
        await door.stop()


async def _listen(door: Control | HttpDoor, where: object, setting: str) -> None:
    try:
        await door.start()
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror or error}", where=setting) from None


def health_of(daemon: Daemon) -> Health:
    """What probes and metrics show of the daemon."""
    state = daemon.state
    incidents: dict[str, int] = {}
    for incident in state.book.incidents.values():
        incidents[incident.state.value] = incidents.get(incident.state.value, 0) + 1
    return Health(
        alive=daemon.turned_ago_s < daemon.silence_s,
        turned_at=(daemon.rooms.clock.now() - timedelta(seconds=daemon.turned_ago_s)).timestamp(),
        ready=daemon.seen_all.is_set(),
        leader=state.lease_held,
        view_trusted=state.view.trusted,
        incidents=incidents,
        runs=len(state.active_runs()),
        storm=state.storm.on,
        paused=bool(state.pauses),
        config_stale=bool(state.stale),
        clock_ahead_s=daemon.rooms.clock.ahead_s(),
        budgets=measures.budgets(state, daemon.rooms.clock.now()),
    )


def _sights(loaded: Loaded, daemon: Daemon, metrics: Metrics, reloader: Reloader) -> Sights:
    return Sights(
        health=lambda: health_of(daemon),
        services=lambda name: measures.services(daemon.state, name),
        metrics=metrics,
        reload=reloader.reload if loaded.config.server.reload else None,
    )
