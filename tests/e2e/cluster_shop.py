"""A small shop on the cluster's two client agents: services that are well, and three whose health a test moves."""

from __future__ import annotations

import asyncio
import contextlib
from http.client import HTTPException
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.cluster import Cluster

WELL = {"shop-web": ("c1", "c2"), "shop-cart": ("c1", "c2"), "shop-db": ("c1",), "shop-side": ("c1",)}
MOVED = ("sick", "heals", "fails")  # one instance each, on c2
EVERY = "500ms"


class Shop:
    """``async with Shop(cluster) as shop``: registered, passing, except ``sick`` and ``heals``.

    ``shop-cart`` has TTL checks, ``shop-side`` an alias of ``shop-web``'s, all others HTTP checks answered by this
    process: ``shop.fail(name)`` and ``shop.heal(name)`` are real even while Consul is not there to be told.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._failing: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._beats: asyncio.Task[None] | None = None

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
                wanted = self._service(name, agent)
                await self._cluster.request("PUT", "/v1/agent/service/register", wanted, at=agent)
        self._beats = asyncio.create_task(self._beat(), name="heartbeats")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Before this the cluster must be whole again: what is registered is taken away."""
        assert self._beats is not None
        self._beats.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._beats
        for agent in ("c1", "c2"):
            for service in await self._cluster.request("GET", "/v1/agent/services", at=agent):
                await self._cluster.request("PUT", f"/v1/agent/service/deregister/{service}", at=agent)
        assert self._runner is not None
        await self._runner.cleanup()

    def _service(self, name: str, agent: str) -> dict[str, Any]:
        own = f"{name}-{agent}"
        http = {"HTTP": f"{self._url}/{name}", "Interval": EVERY, "Timeout": "5s"}
        ttl, alias = {"TTL": "30s"}, {"AliasService": f"shop-web-{agent}"}
        check = {"shop-cart": ttl, "shop-side": alias}.get(name, http)
        status = "critical" if name in self._failing else "passing"
        return {"Name": name, "ID": own, "Port": 80, "Check": {"CheckID": own, "Status": status, **check}}

    async def _beat(self) -> None:
        """What an application with a TTL check does; an agent that is away misses a beat."""
        while True:
            for agent in WELL["shop-cart"]:
                with contextlib.suppress(RuntimeError, OSError, HTTPException):
                    await self._cluster.request("PUT", f"/v1/agent/check/pass/shop-cart-{agent}", at=agent)
            await asyncio.sleep(0.5)

    async def _health(self, request: web.Request) -> web.Response:
        bad = request.match_info["service"] in self._failing
        return web.Response(status=500 if bad else 200, text="down" if bad else "up")
