"""One instance of a sample service: a real HTTP server that works only while those it depends on do."""

from __future__ import annotations

import errno
from collections.abc import Callable

from aiohttp import web

from consulguard.testing.ports import free_ports

Works = Callable[[str], bool]  # does any instance of this service do its work?

_FLAP_LOOKS = 2  # looks at its health for which an instance that flaps is ill, and then well


class Backend:
    """``/`` does the work, ``/health`` says whether it could: while every dependency has an instance that works.

    ``sick`` fails both. ``hidden`` fails the work alone: its own check stays green, its callers' checks do not.
    ``flapping`` is sick and well in turns, counted in looks at ``/health``: no delay of the machine changes them.

    Instances ask each other in memory. Over HTTP every check would cost a dozen calls on the one loop the shop
    shares with the bot, and a fault would reach its callers late and in an order of chance.
    """

    def __init__(self, instance: str, calls: tuple[str, ...], works: Works) -> None:
        self.instance = instance
        self.port = free_ports(1)[0]
        self.sick = False
        self.hidden = False
        self.flapping = False
        self._looks = 0
        self._known = False
        self._calls = calls
        self._works = works
        self._runner: web.AppRunner | None = None

    @property
    def running(self) -> bool:
        return self._runner is not None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serve (again), in good health."""
        self.sick = self.hidden = self.flapping = False
        self._looks = 0
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
        if runner is not None:
            await runner.cleanup()

    def works(self) -> bool:
        """Whether ``/`` would answer 200."""
        return self.running and not (self.hidden or self._ill() or self._silent())

    async def _work(self, request: web.Request) -> web.Response:
        if self.hidden or self._ill():
            return web.Response(status=500, text=f"{self.instance}: internal error")
        return self._answer(self._silent())

    async def _health(self, request: web.Request) -> web.Response:
        ill = self._ill()
        self._looks += 1
        if ill:
            return web.Response(status=500, text=f"{self.instance}: internal error")
        return self._answer([] if self.hidden else self._silent())

    def _answer(self, silent: list[str]) -> web.Response:
        if silent:
            return web.Response(status=503, text=f"{self.instance}: no good answer from {', '.join(silent)}")
        return web.Response(text=f"{self.instance}: ok")

    def _ill(self) -> bool:
        return self.sick or (self.flapping and self._looks // _FLAP_LOOKS % 2 == 0)

    def _silent(self) -> list[str]:
        """Dependencies of which no instance works."""
        return [name for name in self._calls if not self._works(name)]
