"""What can be made to go wrong at the twin. Each switch stays on until ``heal``, unless it counts down."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

# What Consul's error answers carry. A client that reads it as an index believes that the index went back.
ERROR_HEADERS = {"X-Consul-Index": "1", "X-Consul-Knownleader": "false", "X-Consul-Lastcontact": "0"}


@dataclass
class Failure:
    path: str
    status: int
    left: int | None
    body: str

    def hits(self, path: str) -> bool:
        return path.startswith(self.path) and self.left != 0


class Faults:
    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.delay_s = 0.0
        self.refusal = ""  # body of a 403 for every request
        self.blind = False  # 200, but ACLs filter everything out
        self.leaderless = False
        self.page: tuple[str, str] | None = None  # (content type, body) instead of every answer

    def heal(self) -> None:
        """All switches off; frozen requests go on."""
        self.failures.clear()
        self.delay_s, self.refusal, self.blind, self.leaderless, self.page = 0.0, "", False, False, None
        self.thawed.set()

    async def instead(self, request: web.Request) -> web.Response | None:
        """The answer a switched-on fault gives instead of the real one."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self.thawed.wait()
        for failure in self.failures:
            if failure.hits(request.path):
                if failure.left is not None:
                    failure.left -= 1
                return web.Response(status=failure.status, text=failure.body, headers=ERROR_HEADERS)
        if self.page is not None:
            return web.Response(text=self.page[1], content_type=self.page[0])
        if self.refusal:
            return web.Response(status=403, text=self.refusal, headers=ERROR_HEADERS)
        if (
            self.leaderless
            and not request.path.startswith(("/v1/status/", "/v1/agent/"))
            and not _may_be_stale(request)
        ):
            return web.Response(status=500, text="No cluster leader", headers=ERROR_HEADERS)
        return None


def _may_be_stale(request: web.Request) -> bool:
    return request.method == "GET" and "stale" in request.query
