"""``consul.maintenance``: Consul's own maintenance mode for an instance or a node, on the agent that owns it."""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import urlencode

import msgspec
from pydantic import Field

from consulguard.act.base import (
    ActContext,
    Action,
    ActSettings,
    Ending,
    Strict,
    check_target,
    done,
    failed,
    safe_name,
)
from consulguard.act.consul_io import decode, read, scope_params, sentence_of
from consulguard.act.text import tidy
from consulguard.consulapi import segment
from consulguard.errors import ActionRefused, ConsulRefused
from consulguard.model import Intent, JsonObject, Outcome, Target

_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:.]{2,45}")


class MaintenanceParams(Strict):
    enable: bool = True
    reason: str = Field(default="", max_length=2000)  # shown in Consul after our tag


class _Node(msgspec.Struct):
    Address: str


class _Registered(msgspec.Struct):
    """``/v1/catalog/node/:node``."""

    Node: _Node


class _Config(msgspec.Struct):
    NodeName: str


class _Self(msgspec.Struct):
    """``/v1/agent/self``."""

    Config: _Config


class _Check(msgspec.Struct):
    """``/v1/agent/checks``: a maintenance check keeps its reason in the notes."""

    Notes: str = ""


class ConsulMaintenance(Action[MaintenanceParams]):
    """Turn maintenance on, or lift the one this incident turned on; anybody else's is left alone."""

    name: ClassVar[str] = "consul.maintenance"
    Params: ClassVar[type[Strict]] = MaintenanceParams
    touches: ClassVar[str] = "instance"
    idempotent: ClassVar[bool] = True
    undoable: ClassVar[bool] = True

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.node:
            raise ActionRefused("consul.maintenance needs an instance or a node, not a whole service")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        query = urlencode(_query(intent, enable=parsed.enable and not intent.undo, reason=parsed.reason))
        return f"PUT {_path(intent.target)}?{query} at the agent of node {intent.target.node}"

    async def do(self, params: MaintenanceParams, intent: Intent, ctx: ActContext) -> Ending:
        if not params.enable:
            return await self._lift(intent, ctx)
        agent, index = await _owner(intent.target, ctx)
        reason = await _reason(intent.target, ctx, agent)
        if reason is None:
            return await self._put(intent, ctx, agent, _query(intent, enable=True, reason=params.reason), index)
        if _ours(reason, intent):
            return done(f"{intent.target.name} is in maintenance for this incident already", index=index)
        return failed(
            f"{intent.target.name} is in maintenance by someone else: {tidy(reason) or 'no reason given'}"
        )

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        return await self._lift(intent, ctx)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        agent, _ = await _owner(intent.target, ctx)
        reason = await _reason(intent.target, ctx, agent)
        ours = reason is not None and _ours(reason, intent)
        wanted = intent.params.get("enable", True) is True and not intent.undo
        return Outcome.DONE if ours == wanted else Outcome.RETRY

    async def _lift(self, intent: Intent, ctx: ActContext) -> Ending:
        agent, index = await _owner(intent.target, ctx)
        reason = await _reason(intent.target, ctx, agent)
        name = intent.target.name
        if reason is None:
            return done(f"{name} is not in maintenance", index=index)
        if not _ours(reason, intent):
            sentence = (
                f"the maintenance of {name} is not this incident's and stays: {tidy(reason) or 'no reason given'}"
            )
            return done(sentence, index=index) if intent.undo else failed(sentence)
        return await self._put(intent, ctx, agent, _query(intent, enable=False, reason=""), index)

    async def _put(self, intent: Intent, ctx: ActContext, agent: str, query: dict[str, str], index: int) -> Ending:
        try:
            with ctx.effect(intent):
                await ctx.consul.send("PUT", _path(intent.target), params=query, address=agent)
        except ConsulRefused as error:
            if error.status != 404:
                raise
            target = intent.target
            return failed(
                f"the agent of node {target.node} does not own {target.name}: {tidy(sentence_of(error))}"
            )
        word = "on" if query["enable"] == "true" else "off"
        return done(
            f"maintenance of {intent.target.name} is {word}",
            index=index,
            saved={"action": self.name, "tag": tag(intent)},
        )


def tag(intent: Intent) -> str:
    """The word at the start of the reason that says whose maintenance it is."""
    return f"consulguard:{intent.incident_id or intent.id}"


def _ours(reason: str, intent: Intent) -> bool:
    return reason.split(" ", 1)[0] in (tag(intent), (intent.saved or {}).get("tag"))


def _query(intent: Intent, *, enable: bool, reason: str) -> dict[str, str]:
    query = {"enable": "true" if enable else "false"}
    if enable:
        query["reason"] = f"{tag(intent)} {tidy(reason, 200)}".strip()
    return query | _namespace(intent.target)


def _namespace(target: Target) -> dict[str, str]:
    """An agent's own endpoints take no other scope."""
    named = target.instance and target.namespace not in ("", "default")
    return {"ns": target.namespace} if named else {}


def _path(target: Target) -> str:
    if target.instance:
        return f"/v1/agent/service/maintenance/{segment(target.instance)}"
    return "/v1/agent/maintenance"


async def _owner(target: Target, ctx: ActContext) -> tuple[str, int]:
    """Address of the agent that owns the target, proved to be that node's, and the catalog's index."""
    answer = await read(
        ctx,
        f"/v1/catalog/node/{segment(target.node)}",
        params=scope_params(target, namespace=bool(target.instance)),
    )
    found: _Registered | None = decode(answer, _Registered | None) if answer else None
    if answer is None or found is None:
        raise ActionRefused(f"node {target.node} is not registered")
    agent = await _agent(target.node, found.Node.Address, ctx)
    # Asked for by name: without the right to read it this is a 403, where a list would just be shorter.
    if target.instance:
        path = f"/v1/agent/service/{segment(target.instance)}"
        if not await read(ctx, path, params=_namespace(target), address=agent):
            raise ActionRefused(f"the agent of node {target.node} does not own {target.instance}")
    return agent, answer.index or 0


async def _agent(node: str, address: str, ctx: ActContext) -> str:
    """Our own agent where it is the node's, else the one at the node's address: either says who it is."""
    if node not in ctx.settings.agent_addresses:
        mine = ctx.consul.address
        me = await read(ctx, "/v1/agent/self", address=mine)
        if me is not None and decode(me, _Self).Config.NodeName == node:
            return mine
    agent = agent_address(node, address, ctx.settings)
    me = await read(ctx, "/v1/agent/self", address=agent)
    if me is None:
        raise ActionRefused(f"no Consul agent answers at {agent}, the address for node {node}")
    name: str = decode(me, _Self).Config.NodeName
    if name != node:
        raise ActionRefused(f"the agent at {agent} is that of node {tidy(name, 80)}, not of {node}")
    return agent


def agent_address(node: str, address: str, settings: ActSettings) -> str:
    """Where the agent of ``node`` listens: the override, else the template, filled in from the catalog."""
    if node in settings.agent_addresses:
        return settings.agent_addresses[node]
    if not _ADDRESS.fullmatch(address):
        raise ActionRefused(f"node {node} has no usable address: {tidy(address, 80)!a}")
    template = settings.agent_address or "{scheme}://{address}:{port}"
    if "{node}" in template and not safe_name(node):
        raise ActionRefused(f"unsafe node name {node[:80]!a}")
    host = f"[{address}]" if ":" in address else address
    values = {"scheme": settings.agent_scheme, "node": node, "address": host, "port": str(settings.agent_port)}
    return re.sub(r"\{(scheme|node|address|port)\}", lambda m: values[m[1]], template)


async def _reason(target: Target, ctx: ActContext, agent: str) -> str | None:
    """The reason of the maintenance the target is in; None when it is in none."""
    answer = await read(ctx, "/v1/agent/checks", params=_namespace(target), address=agent)
    checks: dict[str, _Check] = decode(answer, dict[str, _Check]) if answer else {}
    check = checks.get(f"_service_maintenance:{target.instance}" if target.instance else "_node_maintenance")
    return None if check is None else check.Notes
