"""Answering HTTP on a port of its own, for tests in which somebody is asked something."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from aiohttp import web


class Served(ABC):
    """While the block runs. Whoever keeps a request waiting lets it go before ``__aexit__``."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        assert self._runner is not None
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    @abstractmethod
    def routes(self) -> Sequence[web.RouteDef]:
        """What is answered."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
