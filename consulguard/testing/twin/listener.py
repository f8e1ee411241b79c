"""One HTTP address of the twin."""

from __future__ import annotations

from collections import Counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from consulguard.testing.twin.agent import TwinAgent
from consulguard.testing.twin.answers import Refused
from consulguard.testing.twin.catalog import NotRegistered
from consulguard.testing.twin.routes_agent import AgentRoutes
from consulguard.testing.twin.routes_catalog import CatalogRoutes
from consulguard.testing.twin.routes_data import DataRoutes
from consulguard.testing.twin.world import World

_BODY_MAX = 64 * 1024 * 1024


class Listener:
    """Serves a world through one agent. The port is chosen at the first start and kept from then on."""

    def __init__(self, world: World, agent: TwinAgent, requests: Counter[tuple[str, str]]) -> None:
        self.agent = agent
        self.port = 0
        self._world = world
        self._requests = requests
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(middlewares=[self._guarded()], client_max_size=_BODY_MAX)
        for routes in (CatalogRoutes(self._world), AgentRoutes(self._world, self.agent), DataRoutes(self._world)):
            app.add_routes(routes.routes())
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        self._runner, self.port = runner, runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _guarded(self) -> Middleware:
        """Counts requests, lets faults answer first, and gives refusals Consul's form."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._requests[request.method, request.path] += 1
            instead = await self._world.faults.instead(request)
            if instead is not None:
                return instead
            try:
                return await handler(request)
            except Refused as refused:
                return web.Response(status=refused.status, text=refused.text, headers=refused.headers)
            except NotRegistered as missing:
                return web.Response(status=500, text=str(missing))
            except web.HTTPMethodNotAllowed as wrong:
                allow = {"Allow": "OPTIONS," + ",".join(sorted(wrong.allowed_methods))}
                return web.Response(status=405, text=f"method {request.method} not allowed", headers=allow)
            except web.HTTPNotFound:
                return web.Response(status=404)

        return guarded
