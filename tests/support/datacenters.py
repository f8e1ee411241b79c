"""Two real Consul datacenters, each a server of its own, joined over WAN on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from consulguard.testing import RealConsul
from consulguard.testing.real_consul import wait_until

from tests.support.consul import need_consul


class Datacenters:
    """``dc1`` and ``dc2``."""

    def __init__(self) -> None:
        quick = {"session_ttl_min": "1s"}
        self.dc1 = RealConsul(node="one", datacenter="dc1", config=quick)
        self._quick = quick
        self.dc2: RealConsul

    def open(self) -> None:
        self.dc1.open()
        try:
            first = f"127.0.0.1:{self.dc1.agent.config['ports']['serf_wan']}"
            joining = {**self._quick, "retry_join_wan": [first], "retry_interval_wan": "1s"}
            self.dc2 = RealConsul(node="two", datacenter="dc2", config=joining)
            self.dc2.open()
            wait_until("dc2 seen from dc1", lambda: self.dc1.agent.ask("/v1/catalog/nodes?dc=dc2"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for server in (self.dc1, getattr(self, "dc2", None)):
            if server is not None:
                server.close()

    def __getitem__(self, name: str) -> RealConsul:
        return {"dc1": self.dc1, "dc2": self.dc2}[name]

    async def call(self, datacenter: str, path: str, body: Any = None) -> None:
        url = self[datacenter].address + path
        async with aiohttp.ClientSession() as session, session.put(url, data=json.dumps(body)) as answer:
            assert answer.status == 200, await answer.text()

    async def register(self, datacenter: str, name: str, **more: Any) -> None:
        """A service with one instance and a check that passes until it is told otherwise."""
        check = {"CheckID": name, "Name": "ttl", "TTL": "1h", "Status": "passing"}
        service = {"Name": name, "ID": name, "Port": 1, "Checks": [check], **more}
        await self.call(datacenter, "/v1/agent/service/register", service)

    async def fail(self, datacenter: str, name: str) -> None:
        await self.call(datacenter, f"/v1/agent/check/fail/{name}")

    async def mend(self, datacenter: str, name: str) -> None:
        await self.call(datacenter, f"/v1/agent/check/pass/{name}")

    async def remove(self, datacenter: str, name: str) -> None:
        await self.call(datacenter, f"/v1/agent/service/deregister/{name}")


@pytest.fixture(scope="module")
def datacenters() -> Iterator[Datacenters]:
    need_consul()
    both = Datacenters()
    both.open()
    yield both
    both.close()
