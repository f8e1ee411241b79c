"""One instance of a sample service: a real HTTP server that calls the services it depends on."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

from aiohttp import web

from consulguard.testing.ports import free_ports

Call = Callable[[str], Awaitable[bool]]  # does any instance of this service answer?

_REMEMBERED_S = 0.8  # one round of calls serves everybody who asks within this time


class Backend:
    """``/`` does the work, ``/health`` says whether it could: it calls the dependencies as ``/`` does.

    ``sick`` fails both. ``hidden`` fails the work alone: its own check stays green, its callers' checks do not.
    """

    def __init__(self, instance: str, calls: tuple[str, ...], call: Call) -> None:
        self.instance = instance
        self.port = free_ports(1)[0]
        self.sick = False
        self.hidden = False
        self._known = False
        self._calls = calls
        self._call = call
        self._runner: web.AppRunner | None = None
        self._round: asyncio.Task[list[str]] | None = None
        self._round_at = 0.0

    @property
    def running(self) -> bool:
        return self._runner is not None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serve (again), in good health."""
        self.sick = self.hidden = False
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_get("/", self._work)
        app.router.add_get("/health", self._health)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        await self._listen(runner)
        self._runner = runner

    async def _listen(self, runner: web.AppRunner) -> None:
        """On the same port each time; before anybody knows it, another one may still be taken."""
        while True:
            try:
                await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
            except OSError as error:
                if self._known or error.errno != errno.EADDRINUSE:
                    raise
                self.port = free_ports(1)[0]
            else:
                self._known = True
                return

    async def stop(self) -> None:
        """Connections are refused from now on."""
        runner, self._runner = self._runner, None
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
            self._round = None
        if runner is not None:
            await runner.cleanup()

    async def _work(self, request: web.Request) -> web.Response:
        if self.sick or self.hidden:
            return web.Response(status=500, text=f"{self.instance}: internal error")
        return await self._answer()

    async def _health(self, request: web.Request) -> web.Response:
        if self.sick:
            return web.Response(status=500, text=f"{self.instance}: internal error")
        if self.hidden:
            return web.Response(text=f"{self.instance}: ok")
        return await self._answer()

    async def _answer(self) -> web.Response:
        silent = await self._silent()
        if silent:
            return web.Response(status=503, text=f"{self.instance}: no good answer from {', '.join(silent)}")
        return web.Response(text=f"{self.instance}: ok")

    async def _silent(self) -> list[str]:
        """Dependencies of which no instance answers."""
        now = asyncio.get_running_loop().time()
        if self._round is None or (self._round.done() and now - self._round_at > _REMEMBERED_S):
            self._round = asyncio.create_task(self._ask(), name=f"calls of {self.instance}")
            self._round_at = now
        return await asyncio.shield(self._round)

    async def _ask(self) -> list[str]:
        answers = await asyncio.gather(*(self._call(name) for name in self._calls))
        return [name for name, good in zip(self._calls, answers, strict=True) if not good]
