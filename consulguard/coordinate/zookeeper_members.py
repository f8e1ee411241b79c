"""Who is there, in ZooKeeper: an ephemeral child for each member, which goes with the member's session."""

from __future__ import annotations

import contextlib

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError

from consulguard.clock import Clock
from consulguard.coordinate.lease import LeaseSettings
from consulguard.coordinate.members import Alive, Members, leave_soon, read, written
from consulguard.coordinate.zk import Session, answered
from consulguard.coordinate.zookeeper import INTERVALS, TTL_S, hosts_of


class ZookeeperMembers(Members):
    """A session of its own."""

    def __init__(self, settings: LeaseSettings) -> None:
        wanted_s = settings.ttl_s or TTL_S
        self._wanted_s = wanted_s
        self._agree(wanted_s)
        self._folder = f"/{settings.key.strip('/')}.members"
        self._path = f"{self._folder}/{settings.name}"
        self._kept = written(settings.units)
        self._session = Session(hosts_of(settings), wanted_s, self._agree, lambda state: None)

    async def stay(self) -> bool:
        return await self._session.call(self._stay)

    async def alive(self) -> Alive:
        return await self._session.call(self._alive)

    async def leave(self) -> None:
        await self._session.call(self._leave)

    async def close(self) -> None:
        await leave_soon(self)
        await self._session.close()

    # ---- on a thread

    def _stay(self, client: KazooClient) -> bool:
        """A write, so that it has passed a quorum."""
        with contextlib.suppress(NodeExistsError):
            answered(client.create_async(self._path, self._kept, ephemeral=True, makepath=True))
            return True
        if not self._session.owns(answered(client.exists_async(self._path))):
            return False
        answered(client.set_async(self._path, self._kept))
        return True

    def _alive(self, client: KazooClient) -> Alive:
        """Read at a server that has caught up with the leader."""
        answered(client.sync_async(self._folder))
        found = {}
        for name in self._children(client):
            with contextlib.suppress(NoNodeError):
                found[name] = read(answered(client.get_async(f"{self._folder}/{name}"))[0])
        return found

    def _children(self, client: KazooClient) -> list[str]:
        try:
            names: list[str] = answered(client.get_children_async(self._folder))
        except NoNodeError:
            return []
        return names

    def _leave(self, client: KazooClient) -> None:
        with contextlib.suppress(NoNodeError):
            if self._session.owns(answered(client.exists_async(self._path))):
                answered(client.delete_async(self._path))

    def _agree(self, session_s: float) -> None:
        self.valid_s = min(session_s, self._wanted_s)
        self.renew_s = self.valid_s / INTERVALS


def members(clock: Clock, settings: LeaseSettings, *_: object) -> ZookeeperMembers:
    """What ``coordinate.backend: zookeeper`` means for members. Raises ConfigError."""
    return ZookeeperMembers(settings)
