"""Reads services and nodes one by one, in the order of the queue, and emits what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from consulguard.clock import Clock
from consulguard.consulapi import Answer, ConsulClient, segment
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable
from consulguard.events import Learned
from consulguard.model import Fact, Observation, ServiceFact, Status, Target
from consulguard.watch import entries as e
from consulguard.watch.census import Census
from consulguard.watch.decode import Entry, NodeServices
from consulguard.watch.edges import from_topology
from consulguard.watch.queue import CrawlQueue, Item
from consulguard.watch.settings import WatchSettings
from consulguard.watch.view import Emit, ViewKeeper

FLUSH = 200  # facts in one event at most
FLUSH_S = 0.2  # and no fact waits longer
FIRST_ROUND = "first crawl"


class Reader:
    """Reads one service or node and turns the answer into facts. Used by the crawl and by the one-shot read."""

    def __init__(self, client: ConsulClient, census: Census, clock: Clock, settings: WatchSettings) -> None:
        self._client = client
        self._census = census
        self._clock = clock
        self.settings = settings
        self._told: dict[str, Fact] = {}  # the topology's last fact of each service
        self.topology = False  # the server has service-topology (1.9)

    async def service(self, name: str, *, detailed: bool) -> list[Fact]:
        answer = await self._get(f"/v1/health/service/{segment(name)}")
        found = answer.json(list[Entry])
        facts = self._census.read(name, found, self._clock.now(), detailed=detailed)
        fact = self._census.services.get(name)
        if self.topology and fact is not None and fact.destination:
            facts += await self._called_by(fact)
        return facts

    async def node(self, name: str) -> list[Fact]:
        answer = await self._get(f"/v1/catalog/node/{segment(name)}")
        row: NodeServices | None = answer.json(NodeServices | None)
        return self._census.node_read(row, self._clock.now()) if row else []

    async def _called_by(self, proxy: ServiceFact) -> list[Fact]:
        """Asked for a sidecar's destination, so that services outside the mesh cost nothing."""
        name = proxy.destination
        try:
            path = f"/v1/internal/ui/service-topology/{segment(name)}"
            answer = await self._get(path, params={"kind": ""})
        except ConsulRefused:  # an internal endpoint: without it the other sources remain
            return []
        topology = answer.json(e.Topology)
        me = Target(
            dc=proxy.target.dc, partition=proxy.target.partition, namespace=proxy.target.namespace, service=name
        )
        fact = from_topology(me, topology, self._clock.now())
        old = self._told.get(name)
        if topology.FilteredByACLs or (old is not None and _same(old, fact)):
            return []
        self._told[name] = fact
        return [fact]

    async def _get(self, path: str, *, params: dict[str, str] | None = None) -> Answer:
        answer = await self._client.get(path, params=params, max_bytes=self.settings.list_bytes)
        if answer.filtered_by_acls:
            raise ConsulRefused(f"{path}: Consul left results out for lack of ACL rights", status=403)
        if answer.known_leader is False:
            raise ConsulUnavailable(f"{path}: the server knows no leader")
        return answer


class Crawler:
    def __init__(self, reader: Reader, census: Census, clock: Clock, view: ViewKeeper, emit: Emit) -> None:
        self._reader = reader
        self._census = census
        self._clock = clock
        self._view = view
        self._emit = emit
        self._facts: list[Fact] = []
        self._since = 0.0
        self._wake = asyncio.Event()
        self.queue = CrawlQueue(reader.settings)
        view.pending.add(FIRST_ROUND)

    # ---- what others tell

    def trouble(self, seen: Iterable[Observation]) -> None:
        """Checks say something new. Details are read again if they do not tell of an instance, or it is gone."""
        items: dict[Item, bool] = {}
        for one in seen:
            item, gone = self._item(one.target), one.status is Status.ABSENT
            items[item] = items.get(item) or gone or not self._census.details(one.target)
        self.queue.activate((item for item, outdated in items.items() if not outdated), self._now())
        self.queue.outdated((item for item, outdated in items.items() if outdated), self._now())
        self._wake.set()

    def focus(self, targets: Iterable[Target]) -> None:
        """Of interest to an incident: read first, their sidecars too. Where they run, they tell themselves."""
        self.queue.activate([self._item(target) for target in targets], self._now())
        self._wake.set()

    def changed(self, names: Iterable[str]) -> None:
        self.queue.changed(names)
        self._wake.set()

    async def tell(self, facts: Iterable[Fact]) -> None:
        """Emit facts at once, those that wait included."""
        batch, self._facts = [*self._facts, *facts], []
        self._view.services = len(self._census.names)
        self._view.instances, self._view.workloads = self._census.instances, self._census.workloads
        self._view.nodes = len(self._census.nodes)
        for start in range(0, len(batch), FLUSH):
            await self._emit(Learned(at=self._clock.now(), facts=tuple(batch[start : start + FLUSH])))

    # ---- the loop

    async def run(self) -> None:
        ticked = 0.0
        while True:
            self._wake.clear()
            now = self._now()
            if now - ticked >= 1.0:
                ticked = now
                for node in self.queue.tick(now):
                    self._facts += self._census.node_calm(node, self._clock.now())
            item, delay = self.queue.next(now)
            left = self._since + FLUSH_S - now if self._facts else 1.0
            if self._facts and (left <= 0 or len(self._facts) >= FLUSH):
                await self.tell(())
            elif item is not None and delay <= 0:
                await self._read(item)
            else:
                await self._wait(min(delay, left))

    async def _read(self, item: Item) -> None:
        self.queue.started(item, self._now())
        kind, name = item
        try:
            if kind == "node":
                facts = await self._reader.node(name)
            else:
                facts = await self._reader.service(name, detailed=self.queue.is_active(item))
        except (ConsulRefused, BadAnswer) as error:
            self._view.note(f"{kind} {name}", f"{kind} {name!r} cannot be read: {error}")
        except ConsulUnavailable:  # the feeds tell the view; this one only tries again
            self.queue.again(item, self._now())
            await self._wait(1.0)
        else:
            self._view.clear(f"{kind} {name}")
            self._relate(item)
            if facts and not self._facts:
                self._since = self._now()
            self._facts += facts
        if self.queue.first_round_over:
            self._view.pending.discard(FIRST_ROUND)

    def _relate(self, item: Item) -> None:
        """A node in trouble is all its services' trouble; a service's is its sidecars', and theirs is its own."""
        kind, name = item
        if not self.queue.is_active(item):
            return
        if kind == "node":
            node = self._census.nodes.get(name)
            services = {t.service for t in (node.instances if node else None) or ()}
        else:
            fact = self._census.services.get(name)
            services = self._census.proxies.get(name, set()) | ({fact.destination} if fact else set())
        self.queue.relate([("service", other) for other in sorted(services) if other], self._now())

    def _item(self, target: Target) -> Item:
        return ("service", target.service) if target.service else ("node", target.node)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _same(old: Fact, new: Fact) -> bool:
    return msgspec.structs.replace(new, at=old.at) == old
