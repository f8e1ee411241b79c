"""``ConsulTwin``: an in-process server that answers as a Consul agent does, and fails on demand as one does."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Self

from consulguard.testing.twin.agent import TwinAgent
from consulguard.testing.twin.faults import Failure
from consulguard.testing.twin.hub import Woken
from consulguard.testing.twin.listener import Listener
from consulguard.testing.twin.rows import CheckRow, NodeRow, ServiceRow
from consulguard.testing.twin.world import new_world


class ConsulTwin:
    """One Consul with one agent (more through ``add_agent``), on loopback.

    ::

        async with ConsulTwin() as consul:
            client = ConsulClient(addresses=[consul.address])
            consul.fail(status=500, count=3)

    ``version`` is what it says it is; kinds of config entries that came later than that are unknown to it.
    The indexes, blocking queries, errors and headers are those of 1.8.7, proved by ``tests/contract/consul``.
    """

    def __init__(
        self,
        *,
        node: str = "local",
        datacenter: str = "dc1",
        version: str = "1.8.7",
        node_meta: dict[str, str] | None = None,
    ) -> None:
        self.node = node
        self.requests: Counter[tuple[str, str]] = Counter()  # (method, path) -> how often
        self.world = new_world(datacenter, version, node)
        self._listeners: dict[str, Listener] = {}
        self._make_agent(node, "127.0.0.1", node_meta)
        server = ServiceRow(id="consul", service="consul", port=8300, meta={"version": version})
        self.world.catalog.put_service(node, server)

    # ---- life

    @property
    def address(self) -> str:
        return self._listeners[self.node].address

    @property
    def agent(self) -> TwinAgent:
        return self._listeners[self.node].agent

    async def start(self) -> Self:
        for listener in self._listeners.values():
            await listener.start()
        return self

    async def stop(self) -> None:
        self.world.faults.heal()
        self.world.hub.wake_all(Woken.LOST)
        for listener in self._listeners.values():
            await listener.agent.close()
            await listener.stop()
        self.world.keys.close()

    async def restart(self) -> None:
        """All connections end; the same state comes back at the same address."""
        self.world.hub.wake_all(Woken.LOST)
        for listener in self._listeners.values():
            await listener.stop()
        for listener in self._listeners.values():
            await listener.start()

    async def unplug(self, node: str = "") -> None:
        """Refuse connections at one agent, until ``plug``."""
        await self._listeners[node or self.node].stop()

    async def plug(self, node: str = "") -> None:
        await self._listeners[node or self.node].start()

    async def add_agent(self, node: str, address: str = "127.0.0.1", meta: dict[str, str] | None = None) -> str:
        """A second node with an agent of its own; returns its HTTP address."""
        self._make_agent(node, address, meta)
        await self._listeners[node].start()
        return self._listeners[node].address

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- faults; each stays until heal()

    def fail(self, path: str = "/", *, status: int = 500, count: int | None = None, body: str = "") -> None:
        """Requests whose path starts with ``path`` get ``status``; only the next ``count`` of them if given."""
        texts = {429: "Your IP is issuing too many concurrent connections, please rate limit your calls"}
        text = body or texts.get(status, "rpc error making call: EOF")
        self.world.faults.failures.append(Failure(path, status, count, text))

    def freeze(self) -> None:
        """Accept everything and answer nothing."""
        self.world.faults.thawed.clear()

    def slow(self, seconds: float) -> None:
        """Each answer comes that much later."""
        self.world.faults.delay_s = seconds

    def deny(self, text: str = "ACL not found") -> None:
        """403 for everything. A query that already blocks notices only when it wakes."""
        self.world.faults.refusal = text

    def empty_by_acl(self) -> None:
        """200 with nothing in it: what a token without rights gets from 1.8 to 1.10."""
        self.world.faults.blind = True

    def leaderless(self) -> None:
        """No leader: blocked queries break, reads fail unless stale, and those say KnownLeader false."""
        self.world.faults.leaderless = True
        self.world.hub.wake_all(Woken.LOST)

    def html(self, body: str = "<html><body>Sign in</body></html>", content_type: str = "text/html") -> None:
        """200 with a page that is not Consul's; ``body`` may be broken JSON as well."""
        self.world.faults.page = (content_type, body)

    def drop_index(self, to: int = 5) -> None:
        """What the restore of an older snapshot does to clients: indexes fall to at most ``to``.

        Queries that block just then answer with the old body and the old index, as real servers do.
        """
        self.world.hub.go_back(to)
        self.world.catalog.go_back(to)
        self.world.hub.wake_all(Woken.ABANDONED)

    def heal(self) -> None:
        """All faults off."""
        self.world.faults.heal()

    # ---- many checks at once, without HTTP

    def bulk(self, *, services: int, instances: int, checks: int = 1, nodes: int = 100) -> list[tuple[str, str]]:
        """Load ``services`` x ``instances`` with ``checks`` passing checks each, spread over ``nodes`` nodes.

        Returns the checks' keys (node, check id), service by service, for ``flip``.
        """
        catalog, keys = self.world.catalog, []
        for number in range(nodes):
            node = NodeRow(node=f"bulk-{number:05}", address="10.0.0.1", datacenter=self.world.datacenter)
            catalog.put_node(node)
        for at in range(services * instances):
            name = f"svc-{at // instances:05}"
            node_name, instance = f"bulk-{at % nodes:05}", f"{name}-{at % instances}"
            catalog.put_service(node_name, ServiceRow(id=instance, service=name, port=80))
            for number in range(checks):
                check_id = f"service:{instance}:{number}"
                row = CheckRow(
                    node=node_name, check_id=check_id, name="http", status="passing", service_id=instance
                )
                catalog.put_check(row)
                keys.append((node_name, check_id))
        return keys

    def flip(self, keys: Iterable[tuple[str, str]], status: str, output: str = "") -> int:
        """Set these checks at once, in one raft entry; returns how many changed."""
        return self.world.catalog.flip(keys, status, output)

    def _make_agent(self, node: str, address: str, meta: dict[str, str] | None = None) -> None:
        where = {"lan": address, "lan_ipv4": address, "wan": address, "wan_ipv4": address}
        row = NodeRow(
            id=str(uuid.uuid4()),
            node=node,
            address=address,
            datacenter=self.world.datacenter,
            tagged_addresses=where,
            meta={"consul-network-segment": "", **(meta or {})},
        )
        agent = TwinAgent(self.world.catalog, row)
        self._listeners[node] = Listener(self.world, agent, self.requests)
