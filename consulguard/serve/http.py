"""The HTTP door: metrics, probes, and how a service is. It answers without Consul."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from consulguard.serve.health import Health, ServiceHealth
from consulguard.serve.metrics import Metrics

SHUTDOWN_S = 1.0  # a client that reads slowly does not keep us from ending
NAME_MAX = 256  # characters of a service's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sights:
    """What the door shows. ``services`` of one name, or of all with an empty one."""

    health: Callable[[], Health]
    services: Callable[[str], Sequence[ServiceHealth]] = field(default=lambda name: ())
    metrics: Metrics = field(default_factory=Metrics)
    reload: Callable[[], Awaitable[str]] | None = None  # why the files could not be taken over; None: not offered

    def alive(self) -> bool:
        return self.health().alive

    def role(self) -> str:
        """leader or standby; empty: not ready to be either."""
        health = self.health()
        return ("leader" if health.leader else "standby") if health.ready else ""

    def exposing(self) -> Callable[[], bytes]:
        """The metrics of this moment; what is returned may be called on a thread."""
        health, services = self.health(), self.services("")
        return lambda: self.metrics.expose(health, services)


class Shown(Protocol):
    """What a door shows: ``Sights`` of one daemon, or of several."""

    @property
    def reload(self) -> Callable[[], Awaitable[str]] | None: ...

    def alive(self) -> bool: ...

    def role(self) -> str: ...

    def services(self, name: str, /) -> Sequence[ServiceHealth]: ...

    def exposing(self) -> Callable[[], bytes]: ...


class HttpDoor:
    """``/metrics``, ``/-/healthy`` (fails only on a stuck loop), ``/-/ready``, ``/-/reload``, ``/v1/health``."""

    def __init__(self, listen: str, sights: Shown) -> None:
        host, _, port = listen.rpartition(":")
        self._address = (host.strip("[]") or "127.0.0.1", int(port))
        self._sights = sights
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        app.router.add_post("/-/reload", self._reload)
        app.router.add_get("/v1/health", self._service)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthy(self, _: web.Request) -> web.Response:
        alive = self._sights.alive()
        return web.Response(text="ok\n" if alive else "the loop is stuck\n", status=200 if alive else 503)

    async def _ready(self, _: web.Request) -> web.Response:
        role = self._sights.role()
        return web.Response(text=f"{role or 'starting'}\n", status=200 if role else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._sights.exposing())
        return web.Response(body=body, content_type="text/plain", charset="utf-8")

    async def _reload(self, request: web.Request) -> web.Response:
        """Not for browsers: a page elsewhere could make one send it."""
        reload = self._sights.reload
        if reload is None or "Origin" in request.headers:
            return web.Response(text="set server.reload, or send SIGHUP\n", status=403)
        wrong = await reload()
        return web.Response(text=f"{wrong}\n" if wrong else "ok\n", status=500 if wrong else 200)

    async def _service(self, request: web.Request) -> web.Response:
        name = request.query.get("service", "")
        if not 0 < len(name) <= NAME_MAX or len(request.query) != 1:
            return web.json_response({"error": "ask with ?service=NAME and nothing else"}, status=400)
        found = self._sights.services(name)
        if not found:
            return web.json_response({"error": "no such service"}, status=404)
        worst = next((s for s in found if not s.usable), found[0])
        told = {"service": name, "datacenter": worst.datacenter, "state": worst.state, "incident": worst.incident}
        return web.json_response(told, status=200 if worst.usable else 503)
