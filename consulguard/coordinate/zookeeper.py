"""The lease in ZooKeeper: an ephemeral node, which lives as long as our session.

The epoch is the node's czxid, the number of the transaction that made it: ZooKeeper's own, and only rising. A
renewal is a write, so it has passed the leader and a quorum; a read would be answered by a server that is cut off.

A server tells the leader whom it has heard up to half a tick later. The answer to a renewal therefore proves only
that the leader has heard the one before: our time counts from the send of that one, which is why ``valid_s`` is
less than the session's time-out by one interval.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError

from consulguard.clock import Clock
from consulguard.coordinate.lease import ANSWER_S, LeaseSettings, Lock, SharedLease
from consulguard.errors import ConfigError, LeaseLost, LeaseUnavailable

T = TypeVar("T")

TTL_S = 10.0
AGAIN_S = 1.0
INTERVALS = 5  # renewals in the time of a session


class ZookeeperLock(Lock):
    """kazoo works in threads of its own; every call here waits for it in another one, for a bounded time."""

    def __init__(self, hosts: str, *, key: str, name: str, ttl_s: float = 0.0) -> None:
        self._wanted_s = ttl_s or TTL_S
        self._agree(self._wanted_s)
        self._hosts = hosts
        self._path = "/" + key.strip("/")
        self._note = f"{self._path}.mark"
        self._name = name.encode()
        self._client: KazooClient | None = None
        self._lost = ""
        self._held = False

    async def take(self) -> int | None:
        return await self._call(self._take)

    async def renew(self) -> None:
        await self._call(self._renew)

    async def release(self) -> None:
        if self._held:
            self._held = False
            await self._call(self._release)

    async def wait(self) -> None:
        await asyncio.sleep(AGAIN_S)

    async def read_note(self) -> bytes | None:
        def read(client: KazooClient) -> bytes | None:
            try:
                found: bytes = self._get(client.get_async(self._note))[0]
            except NoNodeError:
                return None
            return found

        return await self._call(read)

    async def write_note(self, note: bytes) -> None:
        def write(client: KazooClient) -> None:
            if not self._mine(self._get(client.exists_async(self._path))):
                raise LeaseLost("only the holder writes the note")
            try:
                self._get(client.set_async(self._note, note))
            except NoNodeError:
                self._get(client.create_async(self._note, note, makepath=True))

        await self._call(write)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(_end, client)  # ends the session, and with it the node

    def lost_reason(self) -> str:
        return self._lost

    # ---- on a thread

    def _take(self, client: KazooClient) -> int | None:
        self._lost = ""
        with contextlib.suppress(NodeExistsError):
            self._get(client.create_async(self._path, self._name, ephemeral=True, makepath=True))
        stat = self._get(client.exists_async(self._path))
        if not self._mine(stat):
            return None
        self._held = True
        return int(stat.czxid)

    def _renew(self, client: KazooClient) -> None:
        try:
            stat = self._get(client.set_async(self._path, self._name))
        except NoNodeError:
            raise LeaseLost("the lock's node in ZooKeeper is gone") from None
        if not self._mine(stat):
            raise LeaseLost("the lock's node in ZooKeeper belongs to another session")

    def _release(self, client: KazooClient) -> None:
        with contextlib.suppress(NoNodeError):
            if self._mine(self._get(client.exists_async(self._path))):
                self._get(client.delete_async(self._path))

    def _mine(self, stat: Any) -> bool:
        client = self._client
        return (
            client is not None
            and stat is not None
            and client.client_id is not None
            and stat.ephemeralOwner == client.client_id[0]
        )

    @staticmethod
    def _get(answer: Any) -> Any:
        return answer.get(timeout=ANSWER_S)

    async def _call(self, work: Callable[[KazooClient], T]) -> T:
        return await asyncio.to_thread(self._bounded, work)

    def _bounded(self, work: Callable[[KazooClient], T]) -> T:
        try:
            return work(self._connected())
        except SessionExpiredError:
            raise LeaseLost("our session in ZooKeeper has expired") from None
        except (KazooException, KazooTimeoutError) as error:
            raise LeaseUnavailable(f"ZooKeeper: {error or type(error).__name__}") from error

    def _connected(self) -> KazooClient:
        if self._client is None:
            client = KazooClient(hosts=self._hosts, timeout=self._wanted_s)
            _negotiated(client, self._agree)
            client.add_listener(self._told)
            try:
                client.start(timeout=ANSWER_S)
            except KazooTimeoutError:
                _end(client)
                raise
            self._client = client
        return self._client

    def _agree(self, session_s: float) -> None:
        """The server may have granted less than we asked for; what is less than asked for counts."""
        session_s = min(session_s, self._wanted_s)
        self.renew_s = session_s / INTERVALS
        self.valid_s = session_s - self.renew_s

    def _told(self, state: KazooState) -> None:
        """Runs on kazoo's thread."""
        if state == KazooState.LOST and self._held:
            self._lost = "our session in ZooKeeper is over"
            self._held = False


def lease(clock: Clock, settings: LeaseSettings, *_: object) -> SharedLease:
    """What ``coordinate.backend: zookeeper`` means. Raises ConfigError."""
    if not settings.hosts:
        raise ConfigError("zookeeper needs coordinate.zookeeper.hosts", where="coordinate")
    lock = ZookeeperLock(",".join(settings.hosts), key=settings.key, name=settings.name, ttl_s=settings.ttl_s)
    return SharedLease(lock, clock, offset=settings.epoch_offset)


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
