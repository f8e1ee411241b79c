"""Services of others that each want their own secret, as the bot's webhooks, alerts and heartbeat meet them."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Self

from aiohttp import web


class Gates:
    """``secrets``: what each wants now. ``taken``: gate and secret of what was let in."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = dict(secrets)
        self.taken: Counter[tuple[str, str]] = Counter()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/restart", partial(self._bearer, "webhook"))
        app.router.add_post("/api/v2/alerts", partial(self._bearer, "alerts"))
        app.router.add_get("/beat/{secret}", self._beat)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _bearer(self, gate: str, request: web.Request) -> web.Response:
        return self._judge(gate, request.headers.get("Authorization", "").removeprefix("Bearer "))

    async def _beat(self, request: web.Request) -> web.Response:
        return self._judge("beat", request.match_info["secret"])

    def _judge(self, gate: str, given: str) -> web.Response:
        if given != self.secrets[gate]:
            return web.Response(status=401)
        self.taken[gate, given] += 1
        return web.Response(text="ok")
