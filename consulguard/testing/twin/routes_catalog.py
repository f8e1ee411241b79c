"""``/v1/health``, ``/v1/catalog``, ``/v1/status`` and the two internal endpoints of the twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from consulguard.testing.twin.answers import Refused, Seen, body_of, written
from consulguard.testing.twin.catalog import NotRegistered
from consulguard.testing.twin.chain import compile_chain, gateway_services
from consulguard.testing.twin.faults import ERROR_HEADERS
from consulguard.testing.twin.filters import BadFilter, compile_filter
from consulguard.testing.twin.meta import wrong_meta
from consulguard.testing.twin.rows import CheckRow, NodeRow, ServiceRow, pick, service_row
from consulguard.testing.twin.world import World

_CHECK = frozenset(
    {"Node", "CheckID", "Name", "Status", "Notes", "Output", "ServiceID", "ServiceName", "ServiceTags"}
)
_NODE = frozenset({"ID", "Node", "Address", "Datacenter", "TaggedAddresses", "Meta"})
_HEALTH = frozenset({"Node", "Service", "Checks"})
_CATALOG = frozenset(
    {
        "ID",
        "Node",
        "Address",
        "Datacenter",
        "NodeMeta",
        "ServiceID",
        "ServiceName",
        "ServiceKind",
        "ServiceTags",
        "ServiceMeta",
        "ServiceAddress",
        "ServicePort",
    }
)


class CatalogRoutes:
    """Handlers over one world, the same for every agent of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._catalog = world.catalog
        self._table = world.hub.table

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/health/state/{state}", self.state, allow_head=False),
            web.get("/v1/health/service/{name}", self.health_service, allow_head=False),
            web.get("/v1/health/connect/{name}", self.health_connect, allow_head=False),
            web.get("/v1/health/checks/{name}", self.health_checks, allow_head=False),
            web.get("/v1/health/node/{name}", self.health_node, allow_head=False),
            web.get("/v1/catalog/services", self.services, allow_head=False),
            web.get("/v1/catalog/service/{name}", self.catalog_service, allow_head=False),
            web.get("/v1/catalog/connect/{name}", self.catalog_connect, allow_head=False),
            web.get("/v1/catalog/nodes", self.nodes, allow_head=False),
            web.get("/v1/catalog/node/{name}", self.node, allow_head=False),
            web.get("/v1/catalog/datacenters", self.datacenters, allow_head=False),
            web.get("/v1/catalog/gateway-services/{name}", self.gateway, allow_head=False),
            web.get("/v1/discovery-chain/{name}", self.chain, allow_head=False),
            web.put("/v1/catalog/register", self.register),
            web.put("/v1/catalog/deregister", self.deregister),
            web.get("/v1/internal/ui/services", self.ui_services, allow_head=False),
            web.post("/v1/internal/acl/authorize", self.authorize),
            web.get("/v1/status/leader", self.leader, allow_head=False),
            web.get("/v1/status/peers", self.peers, allow_head=False),
        ]

    # ---- health

    async def state(self, request: web.Request) -> web.Response:
        state = request.match_info["state"]
        keep = self._filter(request, _CHECK)

        def look() -> Seen:
            topic = self._catalog.state_topic(state)
            return Seen(self._table("checks"), self._checks_in(state, request.query.get("filter"), keep), [topic])

        return await self._world.answers.blocking(request, look)

    def _checks_in(self, state: str, text: str | None, keep: Callable[[Any], bool] | None) -> list[CheckRow]:
        if keep is None:
            return list(self._catalog.in_state(state))
        if state == "any" and text is not None and " ".join(text.split()) == 'Status != "passing"':
            groups = [rows for status, rows in self._catalog.states.items() if status != "passing"]
            return [row for rows in groups for row in rows.values()]
        return [row for row in self._catalog.in_state(state) if keep(msgspec.to_builtins(row))]

    async def health_service(self, request: web.Request) -> web.Response:
        return await self._health(request, self._catalog.instances, "svc")

    async def health_connect(self, request: web.Request) -> web.Response:
        return await self._health(request, self._catalog.connect_instances, "connect")

    async def _health(
        self, request: web.Request, find: Callable[[str], list[tuple[str, ServiceRow]]], topic: str
    ) -> web.Response:
        name, query = request.match_info["name"], request.query
        keep = self._filter(request, _HEALTH)

        def look() -> Seen:
            found = [
                (n, s) for n, s in find(name) if "tag" not in query or set(query.getall("tag")) <= set(s.tags)
            ]
            rows = [self._entry(node, service) for node, service in found]
            if "passing" in query:
                rows = [r for r in rows if all(c.status == "passing" for c in r["Checks"])]
            names = {service.service for _, service in found} or {name}
            index = max(self._catalog.service_index(n) for n in names)
            topics = [f"{topic}:{name}", *(f"svc:{n}" for n in sorted(names))]
            return Seen(index, _kept(rows, keep), topics if found else [*topics, "services"])

        return await self._world.answers.blocking(request, look)

    def _entry(self, node: str, service: ServiceRow) -> dict[str, Any]:
        checks = self._catalog.checks_of(node, "") + self._catalog.checks_of(node, service.id)
        return {"Node": self._catalog.nodes[node], "Service": service, "Checks": checks}

    async def health_checks(self, request: web.Request) -> web.Response:
        name, keep = request.match_info["name"], self._filter(request, _CHECK)

        def look() -> Seen:
            rows = [c for n, s in self._catalog.instances(name) for c in self._catalog.checks_of(n, s.id)]
            return Seen(self._table("checks"), _kept(rows, keep), [f"svc:{name}"])

        return await self._world.answers.blocking(request, look)

    async def health_node(self, request: web.Request) -> web.Response:
        name, keep = request.match_info["name"], self._filter(request, _CHECK)

        def look() -> Seen:
            rows = [row for _, row in sorted(self._catalog.checks.get(name, {}).items())]
            return Seen(self._table("checks"), _kept(rows, keep), [f"node:{name}"])

        return await self._world.answers.blocking(request, look)

    # ---- catalog

    async def services(self, request: web.Request) -> web.Response:
        def look() -> Seen:
            return Seen(self._table("services"), self._catalog.service_names(), ["services"])

        return await self._world.answers.blocking(request, look)

    async def nodes(self, request: web.Request) -> web.Response:
        keep = self._filter(request, _NODE)

        def look() -> Seen:
            rows = [row for _, row in sorted(self._catalog.nodes.items())]
            return Seen(self._table("nodes"), _kept(rows, keep), ["nodes"])

        return await self._world.answers.blocking(request, look)

    async def node(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]

        def look() -> Seen:
            row = self._catalog.nodes.get(name)
            if row is None:
                return Seen(1, None, [f"node:{name}"])
            services = dict(sorted(self._catalog.services.get(name, {}).items()))
            index = self._table("nodes", "services")
            return Seen(index, {"Node": row, "Services": services}, [f"node:{name}"])

        return await self._world.answers.blocking(request, look)

    async def catalog_service(self, request: web.Request) -> web.Response:
        return await self._catalog_list(request, self._catalog.instances, "svc")

    async def catalog_connect(self, request: web.Request) -> web.Response:
        return await self._catalog_list(request, self._catalog.connect_instances, "connect")

    async def _catalog_list(
        self, request: web.Request, find: Callable[[str], list[tuple[str, ServiceRow]]], topic: str
    ) -> web.Response:
        name, keep = request.match_info["name"], self._filter(request, _CATALOG)

        def look() -> Seen:
            found = find(name)
            rows = [_flat(self._catalog.nodes[node], service) for node, service in found]
            index = max((self._catalog.service_index(s.service) for _, s in found), default=0)
            topics = [f"{topic}:{name}"] + ([] if found else ["services"])
            return Seen(index or self._catalog.service_index(name), _kept(rows, keep), topics)

        return await self._world.answers.blocking(request, look)

    async def datacenters(self, request: web.Request) -> web.Response:
        return written([self._world.datacenter])

    async def gateway(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]

        def look() -> Seen:
            return Seen(self._table("config"), gateway_services(self._world.entries, name), ["config"])

        return await self._world.answers.blocking(request, look)

    async def chain(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]

        def look() -> Seen:
            chain = compile_chain(self._world.entries, name, self._world.datacenter)
            return Seen(self._table("config"), chain, ["config"])

        return await self._world.answers.blocking(request, look)

    async def register(self, request: web.Request) -> web.Response:
        payload = await body_of(request, (400, "Request decode failed: unexpected EOF"))
        node, address = pick(payload, "Node") or "", pick(payload, "Address") or ""
        if not node or not (address or pick(payload, "SkipNodeUpdate")):
            raise Refused(
                500, "Must provide address if SkipNodeUpdate is not set" if node else "Must provide node"
            )
        try:
            self._put(node, address, payload)
        except NotRegistered as missing:
            raise Refused(500, f"failed inserting check: {missing}") from None
        return written(True)

    def _put(self, node: str, address: str, payload: dict[str, Any]) -> None:
        service = pick(payload, "Service")
        row = service_row(service) if service else None
        if row is not None:
            _valid_service(node, row)
        if address and not pick(payload, "SkipNodeUpdate"):
            self._catalog.put_node(
                NodeRow(
                    id=pick(payload, "ID") or "",
                    node=node,
                    address=address,
                    datacenter=self._world.datacenter,
                    tagged_addresses=pick(payload, "TaggedAddresses"),
                    meta=pick(payload, "NodeMeta"),
                )
            )
        if row is not None:
            self._catalog.put_service(node, row)
        one = pick(payload, "Check")
        for check in ([one] if one else []) + list(pick(payload, "Checks") or ()):
            self._catalog.put_check(_check_row(node, check))

    async def deregister(self, request: web.Request) -> web.Response:
        payload = await body_of(request, (400, "Request decode failed: unexpected EOF"))
        node = pick(payload, "Node")
        if not node:
            raise Refused(500, "Must provide node")
        if pick(payload, "ServiceID"):
            self._catalog.drop_service(node, pick(payload, "ServiceID"))
        elif pick(payload, "CheckID"):
            self._catalog.drop_check(node, pick(payload, "CheckID"))
        else:
            self._catalog.drop_node(node)
        return written(True)

    # ---- internal, status

    async def ui_services(self, request: web.Request) -> web.Response:
        def look() -> Seen:
            rows = [self._summary(name, tags) for name, tags in self._catalog.service_names().items()]
            topics = ["services", "checks", "nodes"]
            return Seen(self._table(*topics), rows, topics)

        return await self._world.answers.blocking(request, look, effective=False)

    def _summary(self, name: str, tags: list[str]) -> dict[str, Any]:
        instances = self._catalog.instances(name)
        counts = {"passing": 0, "warning": 0, "critical": 0}
        for node, service in instances:
            for check in self._catalog.checks_of(node, service.id):
                counts[check.status] = counts.get(check.status, 0) + 1
        for node in {node for node, _ in instances}:
            for check in self._catalog.checks_of(node, ""):
                counts[check.status] = counts.get(check.status, 0) + 1
        kinds = {service.kind for _, service in instances if service.kind is not msgspec.UNSET}
        proxied = sorted({service.destination for _, service in instances if service.destination})
        return {
            **({"Kind": sorted(kinds)[0]} if kinds else {}),
            "Name": name,
            "Tags": tags or None,
            "Nodes": sorted({node for node, _ in instances}),
            "InstanceCount": len(instances),
            **({"ProxyFor": proxied} if proxied else {}),
            "ChecksPassing": counts["passing"],
            "ChecksWarning": counts["warning"],
            "ChecksCritical": counts["critical"],
            "ExternalSources": None,
            "GatewayConfig": {},
        }

    async def authorize(self, request: web.Request) -> web.Response:
        """ACLs are off at the twin, unless ``blind`` says that they filter everything."""
        asked = await body_of(request, (400, "Failed to decode request body: unexpected EOF"))
        if not self._world.faults.blind:
            raise Refused(401, "ACL support disabled")
        return written([{**one, "Allow": False} for one in asked])

    async def leader(self, request: web.Request) -> web.Response:
        return written("" if self._world.faults.leaderless else "127.0.0.1:8300")

    async def peers(self, request: web.Request) -> web.Response:
        return written(["127.0.0.1:8300"])

    def _filter(self, request: web.Request, selectors: frozenset[str]) -> Callable[[Any], bool] | None:
        text = request.query.get("filter")
        if not text:
            return None
        try:
            return compile_filter(text, selectors)
        except BadFilter as bad:
            raise Refused(500, str(bad), ERROR_HEADERS) from None


def _kept(rows: Sequence[Any], keep: Callable[[Any], bool] | None) -> list[Any]:
    return list(rows) if keep is None else [row for row in rows if keep(msgspec.to_builtins(row))]


def _check_row(node: str, payload: dict[str, Any]) -> CheckRow:
    return CheckRow(
        node=node,
        check_id=pick(payload, "CheckID") or pick(payload, "Name") or "",
        name=pick(payload, "Name") or "",
        status=pick(payload, "Status") or "critical",
        notes=pick(payload, "Notes") or "",
        output=pick(payload, "Output") or "",
        service_id=pick(payload, "ServiceID") or "",
        type=pick(payload, "Type") or "",
        definition=pick(payload, "Definition") or {},
    )


def _valid_service(node: str, row: ServiceRow) -> None:
    bad = wrong_meta(row.meta)
    if bad:
        where = f"for node {node} and serviceID {row.id}"
        raise Refused(500, f"failed inserting service: Invalid Service Meta {where}: {bad}")
    if row.kind != "connect-proxy":
        return
    wrong = ""
    if not row.destination:
        wrong = "Proxy.DestinationServiceName must be non-empty for Connect proxy services"
    elif not row.port:
        wrong = "Port or SocketPath must be set for a Connect proxy"
    elif any(not up["LocalBindPort"] for up in row.proxy.get("Upstreams", ())):
        wrong = "upstream local bind port cannot be zero"
    if wrong:
        raise Refused(500, f"1 error occurred:\n\t* {wrong}\n\n")


def _flat(node: NodeRow, service: ServiceRow) -> dict[str, Any]:
    """A row of ``/v1/catalog/service``."""
    tagged = service.tagged_addresses
    return {
        "ID": node.id,
        "Node": node.node,
        "Address": node.address,
        "Datacenter": node.datacenter,
        "TaggedAddresses": node.tagged_addresses,
        "NodeMeta": node.meta,
        "ServiceKind": "" if service.kind is msgspec.UNSET else service.kind,
        "ServiceID": service.id,
        "ServiceName": service.service,
        "ServiceTags": service.tags,
        "ServiceAddress": service.address,
        **({} if tagged is msgspec.UNSET else {"ServiceTaggedAddresses": tagged}),
        "ServiceWeights": service.weights,
        "ServiceMeta": service.meta or {},
        "ServicePort": service.port,
        "ServiceEnableTagOverride": service.enable_tag_override,
        "ServiceProxy": service.proxy,
        "ServiceConnect": service.connect,
        "CreateIndex": service.create_index,
        "ModifyIndex": service.modify_index,
    }
