"""A tiny HTTP server that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GOOD = {"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}


class Stub:
    """``async with Stub(handler) as stub``: every request goes to ``handler``; ``seen`` keeps them."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.seen: list[web.Request] = []
        self._port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.handler(request)

    async def __aenter__(self) -> Stub:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def answering(body: str | bytes = "[]", *, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    """Always the same answer, with good headers unless others are given."""
    raw = body if isinstance(body, bytes) else body.encode()

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=raw, status=status, headers=GOOD if headers is None else headers)

    return handler
