"""Services of others that each want their own secret, as the bot's webhooks, alerts and heartbeat meet them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from aiohttp import web

from tests.support.served import Served


class Gates(Served):
    """``secrets``: what each wants now. ``taken``: gate and secret of what was let in."""

    def __init__(self, **secrets: str) -> None:
        super().__init__()
        self.secrets = dict(secrets)
        self.taken: Counter[tuple[str, str]] = Counter()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/restart", partial(self._bearer, "webhook")),
            web.post("/api/v2/alerts", partial(self._bearer, "alerts")),
            web.get("/beat/{secret}", self._beat),
        ]

    async def _bearer(self, gate: str, request: web.Request) -> web.Response:
        return self._judge(gate, request.headers.get("Authorization", "").removeprefix("Bearer "))

    async def _beat(self, request: web.Request) -> web.Response:
        return self._judge("beat", request.match_info["secret"])

    def _judge(self, gate: str, given: str) -> web.Response:
        if given != self.secrets[gate]:
            return web.Response(status=401)
        self.taken[gate, given] += 1
        return web.Response(text="ok")
