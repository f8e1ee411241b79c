"""The catalog and configuration feeds: bodies in, facts out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from consulguard.clock import Clock
from consulguard.consulapi import Answer
from consulguard.errors import BadAnswer
from consulguard.model import EdgesFact
from consulguard.watch import edges
from consulguard.watch import entries as e
from consulguard.watch.census import Census
from consulguard.watch.crawl import Crawler
from consulguard.watch.decode import KvPair, Node, UiService
from consulguard.watch.edges import Kind, Names
from consulguard.watch.settings import WatchSettings
from consulguard.watch.view import ViewKeeper

SERVICES, NODES = "catalog/services", "catalog/nodes"
SHRUNK = 0.2  # a list that lost more than this share at once is looked at again before it is believed
SHRUNK_MIN = 2  # lost names; a single one is everyday life


class Catalog:
    def __init__(
        self,
        census: Census,
        names: Names,
        crawler: Crawler,
        clock: Clock,
        view: ViewKeeper,
        settings: WatchSettings,
    ) -> None:
        self._census = census
        self._names = names
        self._crawler = crawler
        self._clock = clock
        self._view = view
        self._settings = settings
        self._edges: dict[str, EdgesFact] = {}
        self._doubted: tuple[frozenset[str], float] | None = None  # a shrunken list, and when it was first seen
        self.listed = asyncio.Event()  # the services are known
        self.on_shrunk: Callable[[], None] = lambda: None

    async def services(self, answer: Answer) -> None:
        tags = answer.json(dict[str, list[str] | None])
        self._doubt(frozenset(tags))
        self._visible(SERVICES, len(tags), "no service is visible: the token may lack service:read")
        facts, changed = self._census.listed(
            {name: value or () for name, value in tags.items()}, self._clock.now()
        )
        self._crawler.queue.names(tags)
        self._crawler.changed(changed)
        await self._crawler.tell(facts)
        self.listed.set()

    async def nodes(self, answer: Answer) -> None:
        rows = answer.json(list[Node])
        if not rows and self._census.nodes:
            raise BadAnswer("all nodes are gone at once: the token may have lost node:read")
        self._visible(NODES, len(rows), "no node is visible: the token may lack node:read")
        await self._crawler.tell(self._census.placed(rows, self._clock.now()))

    async def counts(self, answer: Answer) -> None:
        """``/v1/internal/ui/services``."""
        facts, changed = self._census.counted(answer.json(list[UiService]), self._clock.now())
        if changed:
            self._crawler.changed(changed)
        await self._crawler.tell(facts)

    async def kind(self, kind: Kind, answer: Answer) -> None:
        """``/v1/config/<kind>``."""
        rows = answer.json(list[kind.type])  # type: ignore[name-defined]
        await self._tell(edges.from_kind(kind, rows, self._names, self._clock.now()))

    async def intentions(self, answer: Answer) -> None:
        rows = answer.json(list[e.Intention] | None) or []
        await self._tell(edges.from_intentions(rows, self._names, self._clock.now()))

    async def service_intentions(self, answer: Answer) -> None:
        rows = answer.json(list[e.ServiceIntentions])
        await self._tell(edges.from_service_intentions(rows, self._names, self._clock.now()))

    async def kv(self, answer: Answer) -> None:
        """Declared edges; a 404 means that there are none."""
        pairs = answer.json(list[KvPair]) if answer.status == 200 else []
        declared, wrong = edges.declared_in_kv(pairs, self._settings.kv_prefix)
        self._view.clear("kv values")
        if wrong:
            self._view.note("kv values", f"not a list of service names: {', '.join(wrong[:3])}")
        await self._tell(edges.from_declared("declared/kv", declared, self._names, self._clock.now()))

    async def declared(self) -> None:
        """The edges a file declares."""
        if self._settings.declared:
            await self._tell(
                edges.from_declared("declared/file", self._settings.declared, self._names, self._clock.now())
            )

    # ---- inside

    async def _tell(self, fact: EdgesFact) -> None:
        """Edges that differ from the last ones of their source."""
        old = self._edges.get(fact.source)
        if old is None and not fact.edges and not fact.denied:
            self._edges[fact.source] = fact
        elif old is None or msgspec.structs.replace(fact, at=old.at) != old:
            self._edges[fact.source] = fact
            await self._crawler.tell([fact])

    def _doubt(self, names: frozenset[str]) -> None:
        """Raise BadAnswer for a list that shrank by much at once, until it says the same a while later."""
        known = frozenset(self._census.names)
        lost = len(known) - len(names)
        if lost < min(SHRUNK_MIN, len(known)) or lost <= SHRUNK * len(known) or not known:
            self._doubted = None
            return
        now = asyncio.get_running_loop().time()
        if self._doubted is None or self._doubted[0] != names:
            self._doubted = (names, now)
            self.on_shrunk()
        if now - self._doubted[1] < self._settings.services_gap_s:
            text = f"the number of services fell from {len(known)} to {len(names)} at once"
            self._view.problem(SERVICES, f"{SERVICES}: {text}: lost ACL rights, or a mass deregistration")
            raise BadAnswer(text)
        self._doubted = None

    def _visible(self, feed: str, count: int, text: str) -> None:
        if count:
            self._view.clear(f"{feed} empty")
        else:
            self._view.problem(f"{feed} empty", text)
