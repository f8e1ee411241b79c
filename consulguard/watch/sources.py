"""Every feed in one table: what is asked, how often at most, and from which version on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from consulguard.watch.catalog import NODES, SERVICES, Catalog
from consulguard.watch.edges import KINDS, Kind
from consulguard.watch.feed import Source
from consulguard.watch.health import CRITICAL, WARNING, HealthFeeds
from consulguard.watch.server import SERVICE_INTENTIONS, Server
from consulguard.watch.settings import WatchSettings

UI_SERVICES = "/v1/internal/ui/services"
_SERVICE_INTENTIONS_PATH = "/v1/config/service-intentions"


def health_sources(health: HealthFeeds, settings: WatchSettings) -> list[Source]:
    """The two feeds in which every change of health shows."""
    return [
        Source(
            name=name,
            path=f"/v1/{name}",
            apply=partial(health.apply, name),
            rate=rate,
            quick_rate=settings.health_rate_quick,
            big_rate=settings.health_rate_big,
            burst=settings.health_burst,
        )
        for name, rate in ((CRITICAL, settings.health_rate), (WARNING, settings.health_rate_warning))
    ]


def catalog_sources(
    catalog: Catalog, server: Server, settings: WatchSettings, bell: Callable[[], None]
) -> list[Source]:
    """Services, nodes, configuration entries, intentions and declared edges."""
    rate = 1 / settings.config_gap_s
    lists = [
        Source(
            name=SERVICES,
            path=f"/v1/{SERVICES}",
            apply=catalog.services,
            rate=1 / settings.services_gap_s,
            woke=bell,
        ),
        Source(name=NODES, path=f"/v1/{NODES}", apply=catalog.nodes, rate=1 / settings.nodes_gap_s),
    ]
    kinds = [_kind(kind, catalog, rate) for kind in KINDS if server.has(kind.min_version)]
    kv = Source(
        name="kv",
        path=f"/v1/kv/{quote(settings.kv_prefix)}",
        params={"recurse": ""},
        apply=catalog.kv,
        rate=rate,
        essential=False,
        missing_ok=True,
    )
    return [*lists, *kinds, _intentions(catalog, server, rate), kv]


def _kind(kind: Kind, catalog: Catalog, rate: float) -> Source:
    return Source(
        name=f"config/{kind.name}", path=f"/v1/config/{kind.name}", apply=partial(catalog.kind, kind), rate=rate
    )


def _intentions(catalog: Catalog, server: Server, rate: float) -> Source:
    if server.has(SERVICE_INTENTIONS):
        return Source(
            name="intentions", path=_SERVICE_INTENTIONS_PATH, apply=catalog.service_intentions, rate=rate
        )
    return Source(name="intentions", path="/v1/connect/intentions", apply=catalog.intentions, rate=rate)
