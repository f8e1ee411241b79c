"""Who of a pair leads and who waits, while leaders end and begin again."""

from __future__ import annotations

import asyncio
import signal
import time

from tests.e2e.support.pair import Pair


class Roles:
    """``leader`` and ``other`` change with every end of a leader."""

    def __init__(self, pair: Pair, *services: str) -> None:
        self.pair = pair
        self.leader, self.other = "a", "b"
        self.ended_at = 0.0  # the last leader, by the wall clock
        self._services = services

    async def begin(self) -> None:
        for which in (self.leader, self.other):
            self.pair.make(which, *self._services)
        self.pair.start(self.leader)
        await self.acts()
        await self._stands_by(self.other)

    async def end_of_leader(self, how: signal.Signals) -> float:
        """End it, and start it again as the one that waits; seconds until the other one led."""
        bot, before = self.pair.bots[self.leader], self.pair.led()
        self.ended_at = time.time()
        bot.signal(how)
        ending = asyncio.create_task(bot.ended())
        await self.pair.until("another leads", lambda: self.pair.led() > before)
        assert await ending in (0, -signal.SIGKILL), bot.output()
        await self._stands_by(self.leader)
        self.leader, self.other = self.other, self.leader
        return self.pair.led() - self.ended_at

    async def acts(self) -> float:
        """Seconds from the end of the last leader until this one may act."""
        await self.pair.until("the view is settled", lambda: self.pair.settled_at() > 0)
        return self.pair.settled_at() - self.ended_at

    async def _stands_by(self, which: str) -> None:
        self.pair.start(which)
        await self.pair.until(f"{which} stands by", lambda: self.pair.stands_by(which))
