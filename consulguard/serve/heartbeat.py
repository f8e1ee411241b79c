"""The outward half of the dead-man switch: a call to somebody who notices when it stops coming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import structlog

WITHIN_S = 10.0
log = structlog.get_logger("consulguard.heartbeat")


class Heartbeat:
    """Calls ``url()`` every ``every_s`` seconds while ``healthy()``. The URL is a secret: it is never shown."""

    def __init__(
        self, url: Callable[[], str], *, method: str, every_s: float, healthy: Callable[[], bool]
    ) -> None:
        self._url = url
        self._method = method
        self._every_s = every_s
        self._healthy = healthy

    async def run(self) -> None:
        """Until cancelled. What fails is logged and tried again at the next beat: to miss one is the message."""
        limit = aiohttp.ClientTimeout(total=min(WITHIN_S, self._every_s))
        async with aiohttp.ClientSession(timeout=limit, trust_env=False) as session:
            while True:
                if self._healthy():
                    await self._beat(session)
                await asyncio.sleep(self._every_s)

    async def _beat(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.request(self._method, self._url(), allow_redirects=False) as answer:
                if not 200 <= answer.status < 300:
                    log.warning("heartbeat_refused", status=answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # their texts hold the URL
            log.warning("heartbeat_failed", error=type(error).__name__)
