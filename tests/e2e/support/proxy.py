"""A proxy in front of Consul that writes down every request that changes something, before it passes it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp import web

READS = ("/v1/internal/acl/authorize",)  # a POST that only asks


@dataclass(frozen=True)
class Write:
    """``noted`` is what ``note`` said just before the write was passed on; ``answer`` Consul's."""

    method: str
    path: str
    query: dict[str, str]
    body: str
    noted: Any
    status: int
    answer: str


Change = Callable[[web.Request, bytes, dict[str, str]], bytes]


def as_it_is(request: web.Request, body: bytes, headers: dict[str, str]) -> bytes:
    return body


class RecordingProxy:
    """``change`` gets each answer to a read; it may change the headers and returns the body to be told."""

    def __init__(self, consul: str, note: Callable[[], Any] = lambda: None) -> None:
        self._consul = consul
        self.note = note
        self.change: Change = as_it_is  # what the bot gets to read
        self.writes: list[Write] = []
        self.reads = 0
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        assert self._runner is not None
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.Response:
        assert self._session is not None
        body = await request.read()
        changes = request.method != "GET" and request.path not in READS
        noted = self.note() if changes else None
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
        async with self._session.request(
            request.method, self._consul + request.raw_path, data=body or None, headers=headers
        ) as answer:
            text = await answer.read()
        if changes:
            self.writes.append(
                Write(
                    request.method,
                    request.path,
                    dict(request.query),
                    body.decode(),
                    noted,
                    answer.status,
                    text.decode(),
                )
            )
        kept = {k: v for k, v in answer.headers.items() if k.lower().startswith("x-consul")}
        if not changes:
            self.reads += 1
            text = self.change(request, text, kept)
        return web.Response(status=answer.status, body=text, headers=kept, content_type=answer.content_type)
