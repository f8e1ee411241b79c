"""Whose agent is it: an agent's own endpoints work only at the agent that owns the thing."""

from __future__ import annotations

import re

import msgspec

from consulguard.act.base import ActContext, ActSettings, safe_name
from consulguard.act.consul_io import decode, read, scope_params
from consulguard.act.text import tidy
from consulguard.consulapi import segment
from consulguard.errors import ActionRefused
from consulguard.model import Target

_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:.]{2,45}")


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


def namespace_params(target: Target) -> dict[str, str]:
    """An agent's own endpoints take no other scope."""
    named = target.instance and target.namespace not in ("", "default")
    return {"ns": target.namespace} if named else {}


async def owner(target: Target, ctx: ActContext) -> tuple[str, int]:
    """Address of the agent that owns the target, proved to be that node's, and the catalog's index."""
    address, index = await _registered(target, ctx)
    agent = await _agent(target.node, address, ctx)
    # Asked for by name: without the right to read it this is a 403, where a list would just be shorter.
    if target.instance:
        path = f"/v1/agent/service/{segment(target.instance)}"
        if not await read(ctx, path, params=namespace_params(target), address=agent):
            raise ActionRefused(f"the agent of node {target.node} does not own {target.instance}")
    return agent, index


async def catalog_address(target: Target, ctx: ActContext) -> str:
    """The address of the target's node, read just now. Raises ActionRefused for none, and for what is not one."""
    address, _ = await _registered(target, ctx)
    if not _ADDRESS.fullmatch(address):
        raise ActionRefused(f"node {target.node} has no usable address: {tidy(address, 80)!a}")
    return address


async def _registered(target: Target, ctx: ActContext) -> tuple[str, int]:
    """What the catalog has as the node's address, and its index."""
    answer = await read(
        ctx,
        f"/v1/catalog/node/{segment(target.node)}",
        params=scope_params(target, namespace=bool(target.instance)),
    )
    found: _Registered | None = decode(answer, _Registered | None) if answer else None
    if answer is None or found is None:
        raise ActionRefused(f"node {target.node} is not registered")
    return found.Node.Address, answer.index or 0


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
