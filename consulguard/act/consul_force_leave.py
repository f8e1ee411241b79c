"""``consul.force_leave``: tell the cluster that a dead node will not come back."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from consulguard.act.base import ActContext, Action, Ending, Strict, check_target, done, failed
from consulguard.act.consul_io import decode, read, scope_params
from consulguard.consulapi import segment
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject, Outcome, Target

SERF_HEALTH = "serfHealth"
LEFT, FAILED = 3, 4  # serf's member status
_STATUS = {1: "alive", 2: "leaving", LEFT: "left", FAILED: "failed"}


class ForceLeaveParams(Strict):
    pass


class _Member(msgspec.Struct):
    """``/v1/agent/members``."""

    Name: str
    Status: int


class _Check(msgspec.Struct):
    CheckID: str
    Status: str


class ConsulForceLeave(Action[ForceLeaveParams]):
    """Only for a member that gossip and health both hold for dead: one that lives would be left half gone."""

    name: ClassVar[str] = "consul.force_leave"
    Params: ClassVar[type[Strict]] = ForceLeaveParams
    touches: ClassVar[str] = "node"
    idempotent: ClassVar[bool] = True
    destructive: ClassVar[bool] = True

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.node:
            raise ActionRefused("consul.force_leave needs a node")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        self.parse(intent.target, params)
        return f"PUT {_path(intent.target)}, if the member has failed and its {SERF_HEALTH} is critical"

    async def do(self, params: ForceLeaveParams, intent: Intent, ctx: ActContext) -> Ending:
        target = intent.target
        status = await _member(target, ctx)
        if status in (None, LEFT):
            return done(f"{target.node} has left already")
        if status != FAILED:
            return failed(f"{target.node} is {_STATUS.get(status or 0, 'unknown')} in the gossip pool, not failed")
        health = await read(ctx, f"/v1/health/node/{segment(target.node)}", params=_params(target))
        checks: list[_Check] = decode(health, list[_Check]) if health else []
        serf = next((c.Status for c in checks if c.CheckID == SERF_HEALTH), "absent")
        if serf != "critical":
            return failed(f"the {SERF_HEALTH} of {target.node} is {serf}, not critical")
        with ctx.effect(intent):
            await ctx.consul.send("PUT", _path(target))
        return done(f"{target.node} is told to have left", index=(health.index or 0) if health else 0)

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        return failed("a node comes back by itself when its agent starts: nothing to undo")

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        return Outcome.DONE if await _member(intent.target, ctx) in (None, LEFT) else Outcome.RETRY


def _path(target: Target) -> str:
    return f"/v1/agent/force-leave/{segment(target.node)}"


def _params(target: Target) -> dict[str, str]:
    return scope_params(target, namespace=False)


async def _member(target: Target, ctx: ActContext) -> int | None:
    """The member's status as our agent's gossip knows it; None when it is no member."""
    answer = await read(ctx, "/v1/agent/members", address=ctx.consul.address)
    if answer is None:
        raise ActionRefused("our own agent does not tell the members of the gossip pool")
    members: list[_Member] = decode(answer, list[_Member])
    return next((m.Status for m in members if m.Name == target.node), None)
