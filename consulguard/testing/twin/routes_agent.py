"""``/v1/agent`` of one twin agent."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from aiohttp import web

from consulguard.testing.twin.agent import TwinAgent
from consulguard.testing.twin.answers import Refused, body_of, written
from consulguard.testing.twin.rows import CheckRow
from consulguard.testing.twin.world import World

_DECODE = (400, "Request decode failed: unexpected EOF")


class AgentRoutes:
    def __init__(self, world: World, agent: TwinAgent) -> None:
        self._world = world
        self._agent = agent

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/agent/self", self.self_, allow_head=False),
            web.get("/v1/agent/members", self.members, allow_head=False),
            web.get("/v1/agent/services", self.services, allow_head=False),
            web.get("/v1/agent/service/{id}", self.service, allow_head=False),
            web.get("/v1/agent/checks", self.checks, allow_head=False),
            web.put("/v1/agent/service/register", self.register),
            web.put("/v1/agent/service/deregister/{id:.*}", self.deregister),
            web.put("/v1/agent/service/maintenance/{id:.*}", self.service_maintenance),
            web.put("/v1/agent/maintenance", self.node_maintenance),
            web.put("/v1/agent/check/register", self.register_check),
            web.put("/v1/agent/check/deregister/{id:.*}", self.deregister_check),
            web.put("/v1/agent/check/{what:pass|warn|fail}/{id:.*}", self.ttl),
            web.put("/v1/agent/check/update/{id:.*}", self.update),
        ]

    async def self_(self, request: web.Request) -> web.Response:
        node = self._world.catalog.nodes[self._agent.node]
        config = {
            "Datacenter": self._world.datacenter,
            "NodeName": node.node,
            "NodeID": node.id,
            "Revision": "",
            "Server": True,
            "Version": self._world.version,
        }
        debug = {"ACLsEnabled": self._world.faults.blind, "ACLDefaultPolicy": "allow", "ConnectEnabled": True}
        member = self._member(node.node, node.address)
        return written({"Config": config, "DebugConfig": debug, "Member": member, "Meta": node.meta})

    async def members(self, request: web.Request) -> web.Response:
        return written([self._member(n.node, n.address) for n in self._world.catalog.nodes.values() if n.id])

    def _member(self, name: str, address: str) -> dict[str, Any]:
        tags = {"role": "consul", "dc": self._world.datacenter, "build": f"{self._world.version}:"}
        return {"Name": name, "Addr": address, "Port": 8301, "Tags": tags, "Status": 1}

    async def services(self, request: web.Request) -> web.Response:
        return written({key: self._shown(key) for key in sorted(self._agent.services)})

    async def service(self, request: web.Request) -> web.Response:
        key = request.match_info["id"]
        if key not in self._agent.services:
            raise Refused(404, f"unknown service ID: {key}")
        shown = self._shown(key)
        digest = hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[:16]
        answer = written({**shown, "ContentHash": digest})
        answer.headers["X-Consul-Contenthash"] = digest
        return answer

    def _shown(self, key: str) -> dict[str, Any]:
        """The agent shows neither indexes nor the empty parts the catalog has."""
        row: dict[str, Any] = msgspec.to_builtins(self._agent.services[key])
        for hidden in ("CreateIndex", "ModifyIndex", "Connect"):
            row.pop(hidden, None)
        if not row.get("Kind"):
            row.pop("Proxy", None)
        return row | {"Meta": row["Meta"] or {}}

    async def checks(self, request: web.Request) -> web.Response:
        rows: dict[str, CheckRow] = self._world.catalog.checks[self._agent.node]
        mine = {k: r for k, r in sorted(rows.items()) if k in self._agent.plans or r.type == "maintenance"}
        shown = {k: msgspec.structs.replace(r, create_index=0, modify_index=0) for k, r in mine.items()}
        return written(shown)

    async def register(self, request: web.Request) -> web.Response:
        self._agent.register(await body_of(request, _DECODE))
        return written()

    async def deregister(self, request: web.Request) -> web.Response:
        self._agent.deregister(request.match_info["id"])
        return written()

    async def service_maintenance(self, request: web.Request) -> web.Response:
        key = request.match_info["id"]
        if not key:
            raise Refused(400, "Missing service ID")
        self._agent.service_maintenance(key, _enable(request), request.query.get("reason", ""))
        return written()

    async def node_maintenance(self, request: web.Request) -> web.Response:
        self._agent.node_maintenance(_enable(request), request.query.get("reason", ""))
        return written()

    async def register_check(self, request: web.Request) -> web.Response:
        self._agent.register_check(await body_of(request, _DECODE))
        return written()

    async def deregister_check(self, request: web.Request) -> web.Response:
        self._agent.deregister_check(request.match_info["id"])
        return written()

    async def ttl(self, request: web.Request) -> web.Response:
        status = {"pass": "passing", "warn": "warning", "fail": "critical"}[request.match_info["what"]]
        self._agent.update_ttl(request.match_info["id"], status, request.query.get("note", ""))
        return written()

    async def update(self, request: web.Request) -> web.Response:
        payload = await body_of(request, _DECODE)
        if payload.get("Status") not in ("passing", "warning", "critical"):
            raise Refused(400, f"Invalid check status: '{payload.get('Status', '')}'")
        self._agent.update_ttl(request.match_info["id"], payload["Status"], payload.get("Output") or "")
        return written()


def _enable(request: web.Request) -> bool:
    given = request.query.get("enable")
    if given is None or given == "":
        raise Refused(400, "Missing value for enable")
    words = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    if given.lower() not in words:
        raise Refused(400, f'Invalid value for enable: "{given}"')
    return words[given.lower()]
