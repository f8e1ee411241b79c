"""``consul.deregister``: take an instance that is gone for good, or an external node, out of the catalog."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from consulguard.act.base import ActContext, Action, Ending, Strict, check_target, done, failed
from consulguard.act.consul_agent import namespace_params, owner
from consulguard.act.consul_io import decode, read, said_yes, scope_params
from consulguard.consulapi import segment
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject, Outcome, Target


class DeregisterParams(Strict):
    pass


class _Node(msgspec.Struct):
    Meta: dict[str, str] | None = None


class _Registered(msgspec.Struct):
    """``/v1/catalog/node/:node``."""

    Node: _Node
    Services: dict[str, Any] | None = None


class ConsulDeregister(Action[DeregisterParams]):
    """At the owning agent, or in the catalog for a node that has none: else an agent would put it back."""

    name: ClassVar[str] = "consul.deregister"
    Params: ClassVar[type[Strict]] = DeregisterParams
    touches: ClassVar[str] = "instance"
    idempotent: ClassVar[bool] = True
    destructive: ClassVar[bool] = True

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.node:
            raise ActionRefused("consul.deregister needs an instance or a node, not a whole service")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        self.parse(intent.target, params)
        if not intent.target.instance:
            return f"PUT /v1/catalog/deregister of node {intent.target.node}, if it is an external one"
        where = f"at the agent of node {intent.target.node}, or in the catalog if it is an external node"
        return f"PUT {_path(intent.target)} {where}"

    async def do(self, params: DeregisterParams, intent: Intent, ctx: ActContext) -> Ending:
        target = intent.target
        index, found = await _registered(target, ctx)
        if found is None or not _has(found, target):
            return done(f"{target.name} is not registered any more", index=index)
        if (found.Node.Meta or {}).get("external-node") == "true":
            return await self._from_catalog(intent, ctx, index)
        if not target.instance:
            return failed(f"node {target.node} has an agent of its own: only consul.force_leave takes it out")
        agent, index = await owner(target, ctx)
        with ctx.effect(intent):
            await ctx.consul.send("PUT", _path(target), params=namespace_params(target), address=agent)
        return done(f"{target.name} is deregistered at its agent", index=index)

    async def _from_catalog(self, intent: Intent, ctx: ActContext, index: int) -> Ending:
        target = intent.target
        body = {"Datacenter": target.dc, "Node": target.node}
        if target.instance:
            body["ServiceID"] = target.instance
        with ctx.effect(intent):
            params = scope_params(target, namespace=bool(target.instance))
            gone = said_yes(await ctx.consul.send("PUT", "/v1/catalog/deregister", params=params, json=body))
        return done(f"{target.name} is out of the catalog", index=index) if gone else failed("Consul said no")

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        return failed("what was deregistered has to register itself again: not undone")

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        _, found = await _registered(intent.target, ctx)
        return Outcome.RETRY if _has(found, intent.target) else Outcome.DONE


def _has(found: _Registered | None, target: Target) -> bool:
    return found is not None and (not target.instance or target.instance in (found.Services or {}))


def _path(target: Target) -> str:
    return f"/v1/agent/service/deregister/{segment(target.instance)}"


async def _registered(target: Target, ctx: ActContext) -> tuple[int, _Registered | None]:
    """The index and what the catalog holds of the target's node."""
    params = scope_params(target, namespace=bool(target.instance))
    answer = await read(ctx, f"/v1/catalog/node/{segment(target.node)}", params=params)
    if answer is None:
        return 0, None
    return answer.index or 0, decode(answer, _Registered | None)
