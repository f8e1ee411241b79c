"""A plain HTTP client on the twin or the real server, and the tidying up after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.support.consul import Server


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def index(self) -> int:
        return int(self.headers["X-Consul-Index"])


class Http:
    """Requests to one server. ``body`` may be bytes, or anything that JSON can say."""

    def __init__(self, session: aiohttp.ClientSession, server: Server) -> None:
        self._session = session
        self._address = server.address
        self.node = server.node
        self._nodes: set[str] = set()
        self._services: set[str] = set()

    async def __call__(self, method: str, path: str, body: Any = None, **params: Any) -> Reply:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        url = f"{self._address}/v1{path}"
        async with self._session.request(method, url, data=data, params=params) as answer:
            return Reply(answer.status, dict(answer.headers), await answer.text())

    async def get(self, path: str, **params: Any) -> Reply:
        return await self("GET", path, **params)

    async def put(self, path: str, body: Any = None, **params: Any) -> Reply:
        return await self("PUT", path, body, **params)

    async def ok(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        reply = await self(method, path, body, **params)
        assert reply.status == 200, (method, path, reply)
        return reply.json if reply.text else None

    async def register(self, node: str, *, service: str = "", status: str = "passing", **more: Any) -> None:
        """A catalog registration: a node and, with ``service``, an instance ``<service>-1`` with one check."""
        self._nodes.add(node)
        payload: dict[str, Any] = {"Node": node, "Address": "10.1.1.1", **more}
        if service:
            payload["Service"] = {"Service": service, "ID": f"{service}-1", "Port": 80}
            payload["Check"] = {
                "CheckID": f"service:{service}-1",
                "Name": "check",
                "Status": status,
                "ServiceID": f"{service}-1",
            }
        await self.ok("PUT", "/catalog/register", payload)

    async def agent_register(self, service_id: str, **more: Any) -> None:
        self._services.add(service_id)
        await self.ok("PUT", "/agent/service/register", {"ID": service_id, "Name": service_id, **more})

    async def eventually(self, path: str, holds: Callable[[Any], Any], *, within_s: float = 10.0) -> Any:
        """Read until the answer is as wished; the answer."""
        end = asyncio.get_running_loop().time() + within_s
        while True:
            reply = await self.get(path)
            if reply.status == 200 and holds(reply.json):
                return reply.json
            assert asyncio.get_running_loop().time() < end, (path, reply)
            await asyncio.sleep(0.03)

    async def tidy(self) -> None:
        for service in self._services:
            await self.ok("PUT", f"/agent/service/deregister/{service}")
        for node in self._nodes:
            await self.ok("PUT", "/catalog/deregister", {"Node": node})


@pytest.fixture
async def http(consul_server: Server) -> AsyncIterator[Http]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers={"Accept-Encoding": "identity"}) as session:
        client = Http(session, consul_server)
        yield client
        await client.tidy()
