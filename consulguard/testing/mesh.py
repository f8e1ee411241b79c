"""``SampleMesh``: a web shop of ten services with real little servers, registered in a Consul, to be broken."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp import web

from consulguard.testing.mesh_backend import Backend
from consulguard.testing.mesh_layout import EXTERNAL_NODES, LOCAL, SHOP, Shop
from consulguard.testing.mesh_registry import Registry

_CALL_S = 5.0  # a dead server refuses at once: only a machine that is busy elsewhere takes its time


@dataclass(frozen=True)
class Place:
    """Where one instance of the shop runs; ``node`` "" is the agent's own."""

    service: Shop
    instance: str
    node: str
    backend: Backend


class SampleMesh:
    """The shop in one process: servers on loopback, registrations with upstreams in the Consul at ``address``.

    Instances on the agent's node have HTTP checks the agent runs, and sidecar registrations (no proxy runs). The
    nodes of ``EXTERNAL_NODES`` are catalog entries; the mesh checks them itself, as an external monitor would.

    ``POST <admin_address>/admin/restart/<instance or service>`` repairs what is broken there, so that a playbook's
    action can: ``http.request`` with that URL (also in each instance's meta ``restart-url``).
    """

    def __init__(self, address: str, *, token: str = "", interval_s: float = 1.0) -> None:
        self.interval_s = interval_s
        self.restarted: list[str] = []  # what the admin door was asked to restart, in order
        self._registry = Registry(address, token)
        self._dead_nodes: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self._monitor: asyncio.Task[None] | None = None
        self._admin: web.AppRunner | None = None
        self._admin_port = 0
        self._seen: dict[str, tuple[str, str]] = {}  # check id -> what the catalog was told
        self.places: dict[str, Place] = {
            instance: Place(shop, instance, node, Backend(instance, shop.calls, self._serves))
            for shop in SHOP
            for instance, node in zip(shop.instance_ids(), shop.nodes, strict=True)
        }

    # ---- life

    @property
    def admin_address(self) -> str:
        return f"http://127.0.0.1:{self._admin_port}"

    @property
    def services(self) -> list[str]:
        return [shop.name for shop in SHOP]

    @property
    def nodes(self) -> list[str]:
        """The nodes that can be killed."""
        return list(EXTERNAL_NODES)

    def instances(self, service: str) -> list[str]:
        return [p.instance for p in self.places.values() if p.service.name == service]

    async def start(self) -> Self:
        self._session = aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=_CALL_S))
        await self._open_admin()
        for place in self.places.values():
            await place.backend.start()
        await asyncio.to_thread(self._register)
        self._monitor = asyncio.create_task(self._watch_external(), name="mesh: external monitor")
        return self

    async def stop(self) -> None:
        """Take everything out of Consul again and close the servers. Stopping twice is fine."""
        session, self._session = self._session, None
        if session is None:
            return
        if self._monitor is not None:
            self._monitor.cancel()
            await asyncio.gather(self._monitor, return_exceptions=True)
        await asyncio.to_thread(self._deregister)
        for place in self.places.values():
            await place.backend.stop()
        if self._admin is not None:
            await self._admin.cleanup()
        await session.close()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.stop)
            await self.start()
            undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def ready(self, within_s: float = 60.0) -> None:
        """Wait until every check of the mesh passes; TimeoutError names those that do not."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while True:
            mine = [c for c in await asyncio.to_thread(self._registry.not_passing) if self._is_mine(c)]
            if not mine:
                return
            if loop.time() > end:
                raise TimeoutError(f"not passing after {within_s:g} s: {', '.join(sorted(mine))}")
            await asyncio.sleep(0.1)

    async def ordered(self, prefix: str) -> bool:
        """Whether somebody has written a key under this prefix of Consul's KV store."""
        return await asyncio.to_thread(self._registry.has_keys, prefix)

    # ---- faults

    async def kill_backend(self, service: str, instance: str | None = None) -> None:
        """Close the server of one instance, or of all instances of the service."""
        for place in self._chosen(instance or service):
            await place.backend.stop()

    async def kill_node(self, node: str) -> None:
        """All servers of an external node close, and its node check turns critical."""
        self._dead_nodes.add(node)
        for place in self.places.values():
            if place.node == node:
                await place.backend.stop()

    async def flap(self, service: str, instance: str | None = None) -> None:
        """One instance (the first unless named) is ill and well in turns, until it is restored or restarted."""
        self._chosen(instance or self.instances(service)[0])[0].backend.flapping = True

    async def hidden(self, service: str) -> None:
        """The service stops doing its work while its own checks stay green; its callers' checks fail."""
        for place in self._chosen(service):
            place.backend.hidden = True

    async def mass_failure(self, share: float = 0.6) -> list[str]:
        """That share of all instances fails at once, spread over all services; returns their names."""
        wanted = round(len(self.places) * share)
        columns = itertools.zip_longest(*(self.instances(name) for name in self.services))
        chosen = [i for column in columns for i in column if i is not None][:wanted]
        for instance in chosen:
            self.places[instance].backend.sick = True
        return chosen

    async def restore(self, name: str = "") -> None:
        """End the faults of an instance or a service; without a name all faults, of nodes as well."""
        if not name:
            self._dead_nodes.clear()
        for place in self._chosen(name) if name else self.places.values():
            if place.node not in self._dead_nodes:
                await place.backend.start()

    # ---- inside

    def _chosen(self, name: str) -> list[Place]:
        found = [p for p in self.places.values() if name in (p.instance, p.service.name)]
        if not found:
            raise LookupError(f"the mesh has no service or instance {name!r}")
        return found

    def _is_mine(self, check_id: str) -> bool:
        return any(f":{instance}" in check_id for instance in self.places)

    def _serves(self, service: str) -> bool:
        """A caller's view: whether one of the instances does the work."""
        return any(p.backend.works() for p in self.places.values() if p.service.name == service)

    async def _get(self, url: str) -> tuple[int, str]:
        if self._session is None or self._session.closed:
            return 0, "closed"
        try:
            async with self._session.get(url) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return 0, type(error).__name__

    # ---- in Consul

    def _register(self) -> None:
        ports = itertools.count(20001)
        for node, zone in EXTERNAL_NODES.items():
            self._tell_node(node, zone, alive=True)
        for place in self.places.values():
            upstreams = [{"DestinationName": c, "LocalBindPort": next(ports)} for c in place.service.calls]
            if place.node == LOCAL:
                self._registry.register_local(
                    place.service.name,
                    place.instance,
                    place.backend.port,
                    upstreams=upstreams,
                    meta=self._meta(place),
                    interval=f"{self.interval_s:g}s",
                )
            else:
                self._register_external(place, upstreams)

    def _register_external(self, place: Place, upstreams: list[dict[str, Any]]) -> None:
        name, meta = place.service.name, {"zone": EXTERNAL_NODES[place.node], "external-node": "true"}
        service = {"ID": place.instance, "Service": name, "Port": place.backend.port, "Meta": self._meta(place)}
        proxy = {"DestinationServiceName": name, "DestinationServiceID": place.instance, "Upstreams": upstreams}
        sidecar = {
            "Kind": "connect-proxy",
            "ID": f"{place.instance}-sidecar-proxy",
            "Service": f"{name}-sidecar-proxy",
            "Port": 21000,
            "Proxy": proxy,
        }
        check = {"CheckID": f"service:{place.instance}", "Name": "http", "ServiceID": place.instance}
        self._registry.register_external(place.node, meta, Service=service, Check=check | {"Status": "passing"})
        self._registry.register_external(place.node, meta, Service=sidecar)

    def _meta(self, place: Place) -> dict[str, str]:
        return {"team": place.service.team, "restart-url": f"{self.admin_address}/admin/restart/{place.instance}"}

    def _deregister(self) -> None:
        try:
            for place in self.places.values():
                if place.node == LOCAL:
                    self._registry.deregister_local(place.instance)
            for node in EXTERNAL_NODES:
                self._registry.deregister_node(node)
        except OSError:
            return  # Consul itself is gone, and with it what was registered
        finally:
            self._registry.close()

    async def _watch_external(self) -> None:
        """The external monitor: checks at the interval, and writes what changed."""
        while True:
            await asyncio.gather(*(self._look_at(p) for p in self.places.values() if p.node != LOCAL))
            for node, zone in EXTERNAL_NODES.items():
                await self._changed(node, f"node:{node}", alive=node not in self._dead_nodes, zone=zone)
            await asyncio.sleep(self.interval_s)

    async def _look_at(self, place: Place) -> None:
        status, text = await self._get(f"{place.backend.url}/health")
        told = ("passing" if status == 200 else "critical", text)
        check_id = f"service:{place.instance}"
        if self._seen.get(check_id, ("passing", ""))[0] == told[0]:
            return
        self._seen[check_id] = told
        check = {"CheckID": check_id, "Name": "http", "ServiceID": place.instance, "Type": "http"}
        meta = {"zone": EXTERNAL_NODES[place.node], "external-node": "true"}
        body = check | {"Status": told[0], "Output": f"HTTP {status or 'none'}: {text}"}
        await asyncio.to_thread(self._registry.register_external, place.node, meta, Check=body)

    async def _changed(self, node: str, key: str, *, alive: bool, zone: str) -> None:
        told = ("passing" if alive else "critical", "")
        if self._seen.get(key, ("passing", "")) != told:
            self._seen[key] = told
            await asyncio.to_thread(self._tell_node, node, zone, alive=alive)

    def _tell_node(self, node: str, zone: str, *, alive: bool) -> None:
        check = {
            "CheckID": "externalNodeHealth",
            "Name": "External Node Status",
            "Status": "passing" if alive else "critical",
            "Output": "Node alive and reachable" if alive else "Node not live or unreachable",
        }
        self._registry.register_external(node, {"zone": zone, "external-node": "true"}, Check=check)

    # ---- the admin door

    async def _open_admin(self) -> None:
        app = web.Application()
        app.router.add_post("/admin/restart/{name}", self._restart)
        self._admin = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._admin.setup()
        await web.TCPSite(self._admin, "127.0.0.1", 0).start()
        self._admin_port = self._admin.addresses[0][1]

    async def _restart(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        try:
            places = self._chosen(name)
        except LookupError as unknown:
            return web.json_response({"error": str(unknown)}, status=404)
        self.restarted.append(name)
        down = sorted({p.node for p in places if p.node in self._dead_nodes})
        if down:
            return web.json_response({"error": f"node {down[0]} is down"}, status=409)
        await self._bounce(places)
        await self.restore(name)
        return web.json_response({"restarted": [p.instance for p in places]})

    async def _bounce(self, places: Iterable[Place]) -> None:
        for place in places:
            await place.backend.stop()
