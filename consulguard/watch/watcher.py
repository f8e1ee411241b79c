"""The watcher: keeps all feeds running and turns what they bring into events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from consulguard.clock import Clock
from consulguard.consulapi import ConsulClient
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable
from consulguard.events import AnyEvent, Look, Looked
from consulguard.model import Observation, Target
from consulguard.watch.audit import Audit, LeaderProbe
from consulguard.watch.feed import Feed, door
from consulguard.watch.look import look
from consulguard.watch.mesh import Mesh
from consulguard.watch.pace import Backoff
from consulguard.watch.readback import ReadBack
from consulguard.watch.server import TOPOLOGY, detect
from consulguard.watch.settings import WatchSettings
from consulguard.watch.sight import Sight
from consulguard.watch.sources import UI_SERVICES
from consulguard.watch.view import Emit, ViewKeeper

SMALL_BYTES = 256 * 1024  # the fleet's counts are read on every bell while they are this small
VERSION_S = 3600.0
CONNECT, START, SERVERS = "consul", "start", "servers"
CONSUL = "consul"  # the service as which Consul lists its own servers
log = structlog.get_logger("consulguard.watch")


class Watcher:
    """``run`` until cancelled; ``focus`` and ``look`` may be called at any time.

    After each start the events describe the whole: everything that is not passing, then changes only.
    """

    def __init__(
        self,
        client: ConsulClient,
        clock: Clock,
        settings: WatchSettings,
        emit: Callable[[AnyEvent], Awaitable[None]],
    ) -> None:
        self._client = client
        self._clock = clock
        self._settings = settings
        self._emit: Emit = emit
        self._mesh: Mesh | None = None
        self._resumed: list[tuple[Target, str]] = []
        self._focus: list[Target] = []
        self._feeds: list[Feed] = []
        self._patience = Backoff(settings.resync_min_s, settings.resync_max_s)
        self._resynced_at: float | None = None
        self._resyncing = False

    def resume(self, known: Iterable[tuple[Target, str]]) -> None:
        """Before ``run``: (target, check) of what was not passing when an earlier life ended. What is no longer
        shown by Consul as such is read back, so that its recovery or end is told."""
        self._resumed = list(known)

    def focus(self, targets: Sequence[Target]) -> None:
        """Read these services and nodes first, and in detail."""
        if self._mesh is None:
            self._focus += targets
        else:
            self._mesh.crawler.focus(targets)

    async def look(self, look_at: Look) -> Looked:
        """A ``?consistent`` read, at once; ``after_s`` is the caller's."""
        return await look(self._client, self._clock, look_at)

    async def run(self) -> None:
        view = ViewKeeper(self._clock, self._settings, self._emit)
        view.problem(START, "Consul has not been read yet")
        async with asyncio.TaskGroup() as group:
            group.create_task(view.run(), name="watch view")
            await door(view, "watch", lambda: self._watch(view, group))

    # ---- start

    async def _watch(self, view: ViewKeeper, group: asyncio.TaskGroup) -> None:
        """Find out whom we talk to, then start every loop behind its own door."""
        mesh = await self._begin(view)
        self._feeds = []
        health, crawler = mesh.health, mesh.crawler
        sight = Sight(self._client, self._clock, view, self._settings)
        readback = ReadBack(self._client, health, self._clock, view, self._settings)
        probe = LeaderProbe(self._client, view, self._settings)
        audit = Audit(self._client, health, view, self._settings)
        readback.may_see = sight.may_see
        health.on_left = readback.add
        health.on_trouble = lambda seen: self._trouble(view, mesh, seen)
        probe.on_switch = lambda address: self._switched(view, audit, address)
        probe.on_return = view.on_return = self._ask_anew
        probe.on_elected = lambda old, new: self._elected(view, audit, old, new)
        audit.on_hole = lambda count: self._hole(view, mesh, count)

        async def resync(reason: str) -> None:
            await self._resync(view, mesh, audit, reason)

        for source in mesh.sources:
            if source.essential:
                view.expect(source.name)
            self._feeds.append(Feed(source, self._client, view, self._settings, resync))
        await mesh.catalog.declared()
        loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            *((feed.source.name, feed.run) for feed in self._feeds),
            ("leader", probe.run),
            ("audit", audit.run),
            ("read-back", readback.run),
            ("first runs", health.patience),
            ("crawl", crawler.run),
            ("counts", lambda: self._counts(mesh)),
            ("version", lambda: self._version(mesh, view)),
        ]
        if self._settings.acl_probe:
            loops.append(("acl", sight.run))
        view.clear(START)
        for name, loop in loops:
            group.create_task(door(view, name, loop), name=f"watch {name}")

    async def _begin(self, view: ViewKeeper) -> Mesh:
        """Ask until Consul says who it is; what was told before is taken over."""
        backoff = Backoff(self._settings.backoff_min_s, self._settings.backoff_max_s)
        while True:
            try:
                server = await detect(self._client, self._settings.datacenter)
                break
            except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
                view.problem(CONNECT, f"consul: {error}")
                await asyncio.sleep(backoff.next())
        view.clear(CONNECT)
        mesh = Mesh(self._client, self._clock, self._settings, view, server)
        mesh.book.resume(self._resumed)
        mesh.crawler.focus(self._focus)
        self._mesh = mesh
        return mesh

    # ---- what happens

    def _trouble(self, view: ViewKeeper, mesh: Mesh, seen: Iterable[Observation]) -> None:
        """Their checks say something new; of Consul's own servers people are told with the view."""
        mesh.crawler.trouble(seen)
        servers = mesh.census.services.get(CONSUL)
        down = {node.node for node in mesh.book.nodes} & set(servers.nodes if servers else ())
        view.clear(SERVERS)
        if down:
            view.note(SERVERS, f"Consul's own servers fail: {', '.join(sorted(down))}")

    async def _resync(self, view: ViewKeeper, mesh: Mesh, audit: Audit, reason: str) -> None:
        """An index went back: the server's history is another one. Read everything anew, believe it later.

        What is doubted is doubted at once; a server whose index keeps falling is read anew with growing patience.
        """
        view.resync(reason)
        await view.publish()
        if self._resyncing:
            return
        self._resyncing = True
        try:
            await self._be_patient()
        finally:
            self._resyncing = False
        mesh.book.forget_indexes()
        mesh.crawler.changed(mesh.census.names)
        for feed in self._feeds:
            feed.reset()
        audit.soon()

    async def _be_patient(self) -> None:
        now, last = self._clock.monotonic(), self._resynced_at
        if last is not None and now - last < self._settings.resync_max_s:
            await asyncio.sleep(self._patience.next())
        else:
            self._patience.reset()
        self._resynced_at = self._clock.monotonic()

    def _hole(self, view: ViewKeeper, mesh: Mesh, count: int) -> None:
        view.resync(f"audit: {count} checks differ from what the feeds told")
        mesh.book.forget_indexes()
        for feed in self._feeds:
            if feed.source in mesh.health_sources:
                feed.reset()

    def _switched(self, view: ViewKeeper, audit: Audit, address: str) -> None:
        """Another agent answers: ask it at once, and believe it when it has proved to agree."""
        log.info("agent_switched", address=address)
        view.resync(f"another agent answers now: {address}")
        self._ask_anew()
        audit.soon()

    def _elected(self, view: ViewKeeper, audit: Audit, old: str, new: str) -> None:
        """A query that waits at a server gone silent would wait for half a minute and more."""
        log.info("leader_changed", old=old, new=new)
        view.resync(f"Consul's leader has changed from {old} to {new}")
        self._ask_anew()
        audit.soon()

    def _ask_anew(self) -> None:
        for feed in self._feeds:
            feed.nudge()

    async def _version(self, mesh: Mesh, view: ViewKeeper) -> None:
        """Servers are upgraded while we run; what their version offers is used from then on."""
        while True:
            await asyncio.sleep(VERSION_S if view.version else self._settings.forbidden_retry_s)
            with contextlib.suppress(ConsulUnavailable, ConsulRefused, BadAnswer):
                server = await detect(self._client, mesh.server.datacenter)
                view.version = server.version or view.version
                mesh.reader.topology = server.has(TOPOLOGY)

    async def _counts(self, mesh: Mesh) -> None:
        """The whole fleet in one answer: at start, from time to time, and on every bell while it is cheap."""
        await mesh.catalog.listed.wait()
        wanted = asyncio.Event()
        while True:
            size = SMALL_BYTES + 1
            try:
                answer = await self._client.get(
                    UI_SERVICES, consistency="stale", max_bytes=self._settings.list_bytes, timeout_s=60.0
                )
                size = len(answer.body)
                await mesh.catalog.counts(answer)
            except (ConsulUnavailable, ConsulRefused, BadAnswer):
                pass  # an unstable endpoint: the crawl tells the same, later
            mesh.on_bell = wanted.set if size <= SMALL_BYTES else (lambda: None)
            wanted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wanted.wait(), self._settings.ui_s)
