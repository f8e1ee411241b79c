"""Idle connections that use up what an agent accepts from one address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from consulguard.testing.real_consul import ConsulAgent

SETTLE_S = 0.3  # in which an agent closes what is over its limit


class Hog:
    """Connects to each agent until it takes no more."""

    def __init__(self, agents: Sequence[ConsulAgent]) -> None:
        self._agents = agents
        self._held: list[socket.socket] = []

    async def fill(self, *, leave: int) -> None:
        """Take all connections but ``leave`` of every agent."""
        for agent in self._agents:
            held: list[socket.socket] = []
            while True:
                new = socket.create_connection((agent.host, agent.port), timeout=2)
                new.setblocking(False)
                held.append(new)
                if len(held) % 10 == 0:
                    await asyncio.sleep(SETTLE_S)
                    closed = [each for each in held if _is_closed(each)]
                    held = [each for each in held if each not in closed]
                    for each in closed:
                        each.close()
                    if closed:
                        break
            for each in held[:leave]:
                each.close()
            self._held += held[leave:]

    async def release(self) -> None:
        held, self._held = self._held, []
        for each in held:
            each.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it."""
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
