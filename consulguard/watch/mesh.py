"""All that is known of the mesh, wired for one datacenter: shared by the watcher and the one-shot read."""

from __future__ import annotations

from collections.abc import Callable

from consulguard.clock import Clock
from consulguard.consulapi import ConsulClient
from consulguard.watch.book import HealthBook
from consulguard.watch.catalog import Catalog
from consulguard.watch.census import Census
from consulguard.watch.crawl import Crawler, Reader
from consulguard.watch.decode import Scope
from consulguard.watch.edges import Names
from consulguard.watch.feed import Source
from consulguard.watch.health import CRITICAL, WARNING, HealthFeeds
from consulguard.watch.server import TOPOLOGY, Server
from consulguard.watch.settings import WatchSettings
from consulguard.watch.sources import catalog_sources, health_sources
from consulguard.watch.view import ViewKeeper


class Mesh:
    """``view`` tells whom to emit to; nothing here reads Consul by itself."""

    def __init__(
        self, client: ConsulClient, clock: Clock, settings: WatchSettings, view: ViewKeeper, server: Server
    ) -> None:
        scope = Scope(server.datacenter)
        namespace = "" if client.namespace == "*" else client.namespace
        self.server = server
        self.book = HealthBook(scope, (CRITICAL, WARNING))
        self.health = HealthFeeds(self.book, clock, view, view.emit)
        self.census = Census(scope, namespace, client.partition, settings)
        self.reader = Reader(client, self.census, clock, settings)
        self.reader.topology = server.has(TOPOLOGY)
        self.crawler = Crawler(self.reader, self.census, clock, view, view.emit)
        names = Names(scope, namespace, client.partition)
        self.catalog = Catalog(self.census, names, self.crawler, clock, view, settings)
        self.health_sources = health_sources(self.health, settings)
        self.catalog_sources = catalog_sources(self.catalog, server, settings, self._bell)
        self.on_bell: Callable[[], None] = lambda: None
        view.version = server.version

    def _bell(self) -> None:
        """Some registration changed, and the list of services does not say which."""
        self.crawler.queue.bell()
        self.on_bell()

    @property
    def sources(self) -> list[Source]:
        return [*self.health_sources, *self.catalog_sources]
