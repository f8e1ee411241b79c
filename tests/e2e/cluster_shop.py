"""A small shop on the cluster's two client agents: services that are well, and three whose health a test moves."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.cluster import Cluster

WELL = {"shop-web": ("c1", "c2"), "shop-cart": ("c1", "c2"), "shop-db": ("c2",)}
MOVED = ("sick", "heals", "fails")  # one instance each, on c2
EVERY = "500ms"


class Shop:
    """``async with Shop(cluster) as shop``: registered, passing, except ``sick`` and ``heals``.

    ``shop-cart`` has TTL checks, all others HTTP checks answered by this process: ``shop.fail(name)`` and
    ``shop.heal(name)`` are real even while Consul is not there to be told.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._failing: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._url = ""

    def fail(self, service: str) -> None:
        self._failing.add(service)

    def heal(self, service: str) -> None:
        self._failing.discard(service)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{service}", self._health)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        for name in ("sick", "heals"):
            self.fail(name)
        for name, agents in [*WELL.items(), *((name, ("c2",)) for name in MOVED)]:
            for agent in agents:
                await self._cluster.request("PUT", "/v1/agent/service/register", self._service(name, agent), at=agent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Before this the cluster must be whole again: what is registered is taken away."""
        for agent in ("c1", "c2"):
            for service in await self._cluster.request("GET", "/v1/agent/services", at=agent):
                await self._cluster.request("PUT", f"/v1/agent/service/deregister/{service}", at=agent)
        assert self._runner is not None
        await self._runner.cleanup()

    def _service(self, name: str, agent: str) -> dict[str, Any]:
        http = {"HTTP": f"{self._url}/{name}", "Interval": EVERY, "Timeout": "5s"}
        ttl = {"TTL": "1h", "Status": "passing"}
        check = ttl if name == "shop-cart" else http | {"Status": "critical" if name in self._failing else "passing"}
        return {"Name": name, "ID": f"{name}-{agent}", "Port": 80, "Check": {"CheckID": f"{name}-{agent}", **check}}

    async def _health(self, request: web.Request) -> web.Response:
        bad = request.match_info["service"] in self._failing
        return web.Response(status=500 if bad else 200, text="down" if bad else "up")
