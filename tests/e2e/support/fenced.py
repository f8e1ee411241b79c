"""A target that looks at the epoch and at the attempt before it does anything, and remembers all it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from tests.support.served import Served


@dataclass(frozen=True)
class Asked:
    """One request. ``done``: the fence let it through, and it was the attempt's first."""

    about: str
    attempt: str
    epoch: int
    stale: bool  # its epoch is older than one the target had seen
    again: bool  # the target had seen its attempt
    done: bool


class Fenced(Served):
    """``effect`` is what a request does to the instance that is its body."""

    def __init__(self, effect: Callable[[str], Awaitable[None]]) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.on_the_wire = ""  # the instance of a request that is still on its way
        self._effect = effect
        self._slow = False
        self._arrives = asyncio.Event()

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/restart", self._restart)]

    async def __aexit__(self, *_: object) -> None:
        self.let_go()
        await super().__aexit__()

    def delay_next(self) -> None:
        """The next request stays on the wire until ``let_go``: the target has not seen it yet."""
        self._slow = True
        self._arrives.clear()

    def let_go(self) -> None:
        self._slow = False
        self._arrives.set()

    def about(self, name: str) -> list[Asked]:
        return [one for one in self.asked if one.about == name]

    async def _restart(self, request: web.Request) -> web.Response:
        name = await request.text()
        if self._slow:
            self._slow, self.on_the_wire = False, name
            await self._arrives.wait()
            self.on_the_wire = ""
        one = self._judged(name, request.headers["Idempotency-Key"], int(request.headers["X-Consulguard-Epoch"]))
        self.asked.append(one)
        if one.done:
            await self._effect(name)
        return web.Response(status=409 if one.stale else 200, text="an older epoch" if one.stale else "restarted")

    def _judged(self, name: str, attempt: str, epoch: int) -> Asked:
        stale = any(one.epoch > epoch for one in self.asked)
        again = any(one.attempt == attempt for one in self.asked)
        return Asked(name, attempt, epoch, stale, again, done=not stale and not again)
