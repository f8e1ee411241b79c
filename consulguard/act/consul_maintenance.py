"""``consul.maintenance``: Consul's own maintenance mode for an instance or a node, on the agent that owns it."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlencode

import msgspec
from pydantic import Field

from consulguard.act.base import (
    ActContext,
    Action,
    Ending,
    Strict,
    check_target,
    done,
    failed,
)
from consulguard.act.consul_agent import namespace_params, owner
from consulguard.act.consul_io import decode, read, sentence_of
from consulguard.act.text import tidy
from consulguard.consulapi import segment
from consulguard.errors import ActionRefused, ConsulRefused
from consulguard.model import Intent, JsonObject, Outcome, Target


class MaintenanceParams(Strict):
    enable: bool = True
    reason: str = Field(default="", max_length=2000)  # shown in Consul after our tag


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
        agent, index = await owner(intent.target, ctx)
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
        agent, _ = await owner(intent.target, ctx)
        reason = await _reason(intent.target, ctx, agent)
        ours = reason is not None and _ours(reason, intent)
        wanted = intent.params.get("enable", True) is True and not intent.undo
        return Outcome.DONE if ours == wanted else Outcome.RETRY

    async def _lift(self, intent: Intent, ctx: ActContext) -> Ending:
        agent, index = await owner(intent.target, ctx)
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
    return query | namespace_params(intent.target)


def _path(target: Target) -> str:
    if target.instance:
        return f"/v1/agent/service/maintenance/{segment(target.instance)}"
    return "/v1/agent/maintenance"


async def _reason(target: Target, ctx: ActContext, agent: str) -> str | None:
    """The reason of the maintenance the target is in; None when it is in none."""
    answer = await read(ctx, "/v1/agent/checks", params=namespace_params(target), address=agent)
    checks: dict[str, _Check] = decode(answer, dict[str, _Check]) if answer else {}
    check = checks.get(f"_service_maintenance:{target.instance}" if target.instance else "_node_maintenance")
    return None if check is None else check.Notes
