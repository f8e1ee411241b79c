"""A session with ZooKeeper: kazoo works in threads of its own; every call waits for it in another one, bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from consulguard.coordinate.lease import ANSWER_S
from consulguard.errors import LeaseUnavailable

T = TypeVar("T")


class Session:
    """``agreed`` is told the time-out the server has granted, in seconds; ``told`` runs on kazoo's thread."""

    def __init__(
        self, hosts: str, wanted_s: float, agreed: Callable[[float], None], told: Callable[[KazooState], None]
    ) -> None:
        self._hosts = hosts
        self._wanted_s = wanted_s
        self._agreed = agreed
        self._told = told
        self._client: KazooClient | None = None

    async def call(self, work: Callable[[KazooClient], T]) -> T:
        """``work`` on a thread. Raises LeaseUnavailable, also when the session has expired: the next is new."""
        return await asyncio.to_thread(self._bounded, work)

    async def close(self) -> None:
        """Ends the session, and with it every ephemeral node."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(_end, client)

    def owns(self, stat: Any) -> bool:
        """Whether a node is one of this session's."""
        client = self._client
        return (
            client is not None
            and stat is not None
            and client.client_id is not None
            and stat.ephemeralOwner == client.client_id[0]
        )

    def _bounded(self, work: Callable[[KazooClient], T]) -> T:
        try:
            return work(self._connected())
        except (KazooException, KazooTimeoutError) as error:
            raise LeaseUnavailable(f"ZooKeeper: {error or type(error).__name__}") from error

    def _connected(self) -> KazooClient:
        if self._client is None:
            client = KazooClient(hosts=self._hosts, timeout=self._wanted_s)
            _negotiated(client, self._agreed)
            client.add_listener(self._told)
            try:
                client.start(timeout=ANSWER_S)
            except KazooTimeoutError:
                _end(client)
                raise
            self._client = client
        return self._client


def answered(answer: Any) -> Any:
    """What kazoo's thread has been asked for, in bounded time."""
    return answer.get(timeout=ANSWER_S)


def _negotiated(client: KazooClient, agreed: Callable[[float], None]) -> None:
    """kazoo logs the time-out the server has granted and keeps it nowhere: it is read where it comes in."""
    connection = client._connection
    invoke = connection._invoke

    def listening(*args: Any, **kwargs: Any) -> Any:
        result = invoke(*args, **kwargs)
        granted = getattr(result[0], "time_out", 0) if isinstance(result, tuple) else 0
        if granted > 0:
            agreed(granted / 1000.0)
        return result

    connection._invoke = listening


def _end(client: KazooClient) -> None:
    with contextlib.suppress(KazooException, KazooTimeoutError):
        client.stop()
    with contextlib.suppress(KazooException, KazooTimeoutError):
        client.close()
