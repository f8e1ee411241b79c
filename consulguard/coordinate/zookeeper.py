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

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import NodeExistsError, NoNodeError, SessionExpiredError
from kazoo.protocol.states import EventType, WatchedEvent

from consulguard.clock import Clock
from consulguard.coordinate.lease import LeaseSettings, Lock, SharedLease
from consulguard.coordinate.zk import Session, answered
from consulguard.errors import ConfigError, LeaseLost

TTL_S = 10.0
AGAIN_S = 0.5
GONE = "the lock's node in ZooKeeper is gone"
INTERVALS = 5  # renewals in the time of a session


class ZookeeperLock(Lock):
    """An ephemeral node in a session of its own."""

    def __init__(self, hosts: str, *, key: str, name: str, ttl_s: float = 0.0) -> None:
        self._wanted_s = ttl_s or TTL_S
        self._agree(self._wanted_s)
        self._path = "/" + key.strip("/")
        self._note = f"{self._path}.mark"
        self._name = name.encode()
        self._session = Session(hosts, self._wanted_s, self._agree, self._told)
        self._lost = ""
        self._held = False

    async def take(self) -> int | None:
        return await self._session.call(self._take)

    async def renew(self) -> None:
        await self._session.call(self._renew)

    async def release(self) -> None:
        if self._held:
            self._held = False
            await self._session.call(self._release)

    async def wait(self) -> None:
        await asyncio.sleep(AGAIN_S)

    async def holder(self) -> str:
        return (await self._read(self._path) or b"").decode()

    async def read_note(self) -> bytes | None:
        return await self._read(self._note)

    async def write_note(self, note: bytes) -> None:
        def write(client: KazooClient) -> None:
            if not self._session.owns(answered(client.exists_async(self._path))):
                raise LeaseLost("only the holder writes the note")
            try:
                answered(client.set_async(self._note, note))
            except NoNodeError:
                answered(client.create_async(self._note, note, makepath=True))

        await self._session.call(write)

    async def close(self) -> None:
        await self._session.close()

    def lost_reason(self) -> str:
        return self._lost

    async def _read(self, path: str) -> bytes | None:
        def read(client: KazooClient) -> bytes | None:
            try:
                found: bytes = answered(client.get_async(path))[0]
            except NoNodeError:
                return None
            return found

        return await self._session.call(read)

    # ---- on a thread

    def _take(self, client: KazooClient) -> int | None:
        self._lost = ""
        with contextlib.suppress(NodeExistsError):
            answered(client.create_async(self._path, self._name, ephemeral=True, makepath=True))
        if not self._session.owns(answered(client.exists_async(self._path))):
            return None
        self._held = True
        stat = answered(client.exists_async(self._path, watch=self._changed))
        if not self._session.owns(stat):
            return None
        return int(stat.czxid)

    def _renew(self, client: KazooClient) -> None:
        try:
            answered(client.set_async(self._path, self._name))
        except NoNodeError:
            raise LeaseLost(GONE) from None
        except SessionExpiredError:
            raise LeaseLost("our session in ZooKeeper has expired") from None
        stat = answered(client.exists_async(self._path, watch=self._changed))  # a watch is good for one change
        if not self._session.owns(stat):
            raise LeaseLost("the lock's node in ZooKeeper belongs to another session")

    def _release(self, client: KazooClient) -> None:
        with contextlib.suppress(NoNodeError):
            if self._session.owns(answered(client.exists_async(self._path))):
                answered(client.delete_async(self._path))

    def _agree(self, session_s: float) -> None:
        """The server may have granted less than we asked for; what is less than asked for counts."""
        session_s = min(session_s, self._wanted_s)
        self.renew_s = session_s / INTERVALS
        self.valid_s = session_s - self.renew_s

    def _changed(self, event: WatchedEvent) -> None:
        """Runs on kazoo's thread. Nothing keeps the lock from others when somebody deletes its node."""
        if event.type == EventType.DELETED and self._held:
            self._lost = GONE

    def _told(self, state: KazooState) -> None:
        """Runs on kazoo's thread."""
        if state == KazooState.LOST and self._held:
            self._lost = "our session in ZooKeeper is over"
            self._held = False


def lease(clock: Clock, settings: LeaseSettings, *_: object) -> SharedLease:
    """What ``coordinate.backend: zookeeper`` means. Raises ConfigError."""
    lock = ZookeeperLock(hosts_of(settings), key=settings.key, name=settings.name, ttl_s=settings.ttl_s)
    return SharedLease(lock, clock, offset=settings.epoch_offset)


def hosts_of(settings: LeaseSettings) -> str:
    """As kazoo reads them. Raises ConfigError."""
    if not settings.hosts:
        raise ConfigError("zookeeper needs coordinate.zookeeper.hosts", where="coordinate")
    return ",".join(settings.hosts)
