"""A watcher under test with everything it said, a hand to change Consul, and a meddler in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient, TokenSource
from consulguard.events import AnyEvent, Learned, Observed, ViewChanged
from consulguard.model import EdgesFact, NodeFact, Observation, ServiceFact, Status, Target, View
from consulguard.watch import Watcher, WatchSettings

from tests.shell.consulapi.stub import Handler, Stub

QUICK = WatchSettings(
    settle_s=1.0,
    grace_s=0.3,
    services_gap_s=0.3,
    nodes_gap_s=0.3,
    config_gap_s=0.1,
    probe_s=0.3,
    audit_s=0.5,
    forbidden_retry_s=0.3,
    backoff_max_s=0.5,
    heartbeat_s=1.0,
    acl_probe_s=0.5,
)


def quick(**changes: Any) -> WatchSettings:
    return msgspec.structs.replace(QUICK, **changes)


class Hand:
    """Writes to Consul as people and agents do."""

    def __init__(self, address: str, token: str = "") -> None:
        self.client = ConsulClient(addresses=[address], token=TokenSource(token) if token else None)

    async def put(self, path: str, body: Any = None, **params: str) -> Any:
        data = body if isinstance(body, bytes) else None
        json = None if isinstance(body, bytes) else body
        answer = await self.client.send("PUT", f"/v1{path}", params=params, json=json, data=data)
        return answer.json() if answer.body.strip() else None

    async def service(self, name: str, *, status: str = "passing", **more: Any) -> None:
        """An instance ``<name>1`` of ``name`` at the agent, with a TTL check."""
        check = {"CheckID": f"service:{name}1", "TTL": "600s", "Status": status}
        await self.put("/agent/service/register", {"Name": name, "ID": f"{name}1", "Check": check, **more})

    async def flip(self, name: str, status: str, note: str = "") -> None:
        verb = {"passing": "pass", "warning": "warn", "critical": "fail"}[status]
        await self.put(f"/agent/check/{verb}/service:{name}1", note=note)

    async def catalog(self, node: str, service: str, status: str, output: str = "", **node_more: Any) -> None:
        """An instance registered past any agent: on any node, in any state."""
        await self.put(
            "/catalog/register",
            {
                "Node": node,
                "Address": "10.1.2.3",
                **node_more,
                "Service": {"ID": f"{service}1", "Service": service},
                "Check": {
                    "CheckID": f"service:{service}1",
                    "Name": "x",
                    "Status": status,
                    "Output": output,
                    "ServiceID": f"{service}1",
                },
            },
        )


class Watching:
    """``async with Watching(address) as w``: the watcher runs; ``w.until(...)`` waits for what it says."""

    def __init__(self, *addresses: str, settings: WatchSettings = QUICK, token: TokenSource | None = None) -> None:
        self.client = ConsulClient(addresses=addresses, token=token)
        self.events: list[AnyEvent] = []
        self.times: list[float] = []
        self._news = asyncio.Event()
        self.watcher = Watcher(self.client, SystemClock(), settings, self._keep)

    async def _keep(self, event: AnyEvent) -> None:
        self.events.append(event)
        self.times.append(asyncio.get_running_loop().time())
        self._news.set()

    @property
    def observations(self) -> list[Observation]:
        return [o for e in self.events if isinstance(e, Observed) for o in e.observations]

    @property
    def views(self) -> list[View]:
        return [e.view for e in self.events if isinstance(e, ViewChanged)]

    def statuses(self, instance: str, check: str = "") -> list[Status]:
        """What was said of one instance (or node), in order, output changes left out."""
        return [
            o.status
            for o in self.observations
            if o.target.name == instance and o.changed and check in ("", o.check)
        ]

    def service(self, name: str) -> ServiceFact | None:
        facts = [
            f
            for e in self.events
            if isinstance(e, Learned)
            for f in e.facts
            if isinstance(f, ServiceFact) and f.target.service == name
        ]
        return facts[-1] if facts else None

    def node(self, name: str) -> NodeFact | None:
        facts = [
            f
            for e in self.events
            if isinstance(e, Learned)
            for f in e.facts
            if isinstance(f, NodeFact) and f.target.node == name
        ]
        return facts[-1] if facts else None

    def edges(self, source: str) -> EdgesFact | None:
        facts = [
            f
            for e in self.events
            if isinstance(e, Learned)
            for f in e.facts
            if isinstance(f, EdgesFact) and f.source == source
        ]
        return facts[-1] if facts else None

    async def until(self, holds: Callable[[Watching], Any], within_s: float = 60.0) -> Any:
        """Wait until it is so; what ``holds`` gave."""
        try:
            async with asyncio.timeout(within_s):
                while not (value := holds(self)):
                    self._news.clear()
                    await self._news.wait()
                return value
        except TimeoutError:
            said = [*self.observations[-5:], *self.views[-2:]]
            raise AssertionError(f"not within {within_s} s; last: {said}") from None

    async def settled(self) -> View:
        return await self.until(lambda w: w.views and w.views[-1].settled and w.views[-1])

    async def distrusts(self, word: str) -> View:
        return await self.until(
            lambda w: next((v for v in w.views if not v.trusted and word in str(v.reasons)), None)
        )

    async def trusts_again(self) -> View:
        return await self.until(lambda w: w.views[-1].trusted and w.views[-1])

    async def __aenter__(self) -> Watching:
        self._task = asyncio.create_task(self.watcher.run(), name="watcher under test")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()


class Meddler(Stub):
    """Stands between the watcher and a server; ``instead[path]`` answers in the server's place."""

    def __init__(self, upstream: str) -> None:
        super().__init__(self._forward)
        self.upstream = upstream
        self.instead: dict[str, Handler] = {}
        self.add_headers: dict[str, dict[str, str]] = {}

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if (handler := self.instead.get(request.path)) is not None:
            return await handler(request)
        url = self.upstream + request.raw_path
        async with self._session.request(request.method, url, data=await request.read()) as answer:
            body = await answer.read()
            headers = {k: v for k, v in answer.headers.items() if k.startswith("X-")}
            headers |= self.add_headers.get(request.path, {})
            return web.Response(status=answer.status, body=body, headers=headers)


def instance(name: str, node: str = "local") -> Target:
    return Target(dc="dc1", service=name, node=node, instance=f"{name}1")
