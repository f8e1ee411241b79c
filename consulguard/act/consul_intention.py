"""``consul.intention``: cut one caller off from the target's service, or let it in.

Consul keeps intentions in two ways. Before 1.9 each is a row of its own, written by id and without check-and-set;
from 1.9 on those of one destination are one config entry, ``service-intentions``. Both carry our marks in Meta.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from pydantic import field_validator

from consulguard.act.base import ActContext, Action, Ending, Strict, check_target, failed, safe_name
from consulguard.act.consul_entry import EntryAction
from consulguard.act.consul_io import decode, read, sentence_of
from consulguard.consulapi import SERVICE_INTENTIONS, parse_version, segment, versions
from consulguard.errors import ActionRefused, BadAnswer, ConsulUnavailable, NotSent
from consulguard.model import Intent, JsonObject, Outcome, Target

NAME = "consul.intention"
ROWS = "/v1/connect/intentions"
COMPUTED = ("Precedence", "CreatedAt", "UpdatedAt", "Hash")  # the server's own, in a row
ANYWHERE = ("", "default")  # of a namespace or partition


class IntentionParams(Strict):
    source: str
    action: Literal["deny", "allow"] = "deny"

    @field_validator("source")
    @classmethod
    def _source(cls, source: str) -> str:
        if not safe_name(source):
            raise ValueError("must be the name of one service: no wildcard, nothing but letters, digits, . _ -")
        return source


class _Way(EntryAction[IntentionParams]):
    """One of the two ways, for one source."""

    name: ClassVar[str] = NAME
    Params: ClassVar[type[Strict]] = IntentionParams

    def __init__(self, source: str) -> None:
        self.source = source

    def _written(self, entry: JsonObject | None, intent: Intent, previous: Any) -> Ending:
        ending = super()._written(entry, intent, previous)
        if ending.saved is None:
            return ending
        return msgspec.structs.replace(ending, saved=ending.saved | {"source": self.source, "kind": self.kind})


class _Row(_Way):
    """Before 1.9: the row of one source and the target. It is read again right before a write."""

    kind: ClassVar[str] = "intention"

    def fields(self, params: IntentionParams) -> JsonObject:
        return {"Action": params.action}

    def _entry(self, params: IntentionParams, intent: Intent, before: JsonObject | None) -> JsonObject:
        pair = {"SourceName": self.source, "DestinationName": intent.target.service, "SourceType": "consul"}
        told = {"Description": f"consulguard {intent.incident_id}".strip()}
        kept = {k: v for k, v in (before or {}).items() if k not in ("CreateIndex", "ModifyIndex")}
        return pair | _namespaces(intent.target) | (kept or told) | self.fields(params)

    async def _read(self, target: Target, ctx: ActContext) -> JsonObject | None:
        answer = await read(ctx, ROWS, params=self._scope(target, ctx))
        rows: list[JsonObject] = (decode(answer, list[dict[str, Any]] | None) if answer else None) or []
        row = next((r for r in rows if self._is_ours(r, target)), None)
        return row and {k: v for k, v in row.items() if k not in COMPUTED}

    def _is_ours(self, row: JsonObject, target: Target) -> bool:
        names = (row.get("SourceName"), row.get("DestinationName")) == (self.source, target.service)
        home = (target.namespace,) if target.namespace not in ANYWHERE else ANYWHERE
        return names and all(row.get(side, "") in home for side in ("SourceNS", "DestinationNS"))

    async def _write(self, entry: JsonObject, before: JsonObject | None, intent: Intent, ctx: ActContext) -> bool:
        params = self._scope(intent.target, ctx)
        method, path = ("POST", ROWS) if before is None else ("PUT", f"{ROWS}/{segment(str(before['ID']))}")
        try:
            with ctx.effect(intent):
                if await self._read(intent.target, ctx) != before:
                    return False
                await ctx.consul.send(method, path, params=params, json=entry)
        except ConsulUnavailable as error:
            if error.status == 500 and _is_gone_or_there(error):
                return False
            raise
        return True

    async def _erase(self, present: JsonObject, intent: Intent, ctx: ActContext) -> bool:
        try:
            with ctx.effect(intent):
                if await self._read(intent.target, ctx) != present:
                    return False
                params = self._scope(intent.target, ctx)
                await ctx.consul.send("DELETE", f"{ROWS}/{segment(str(present['ID']))}", params=params)
        except ConsulUnavailable as error:
            if error.status == 500 and _is_gone_or_there(error):
                return False
            raise
        return True


class _Entry(_Way):
    """From 1.9 on: the ``service-intentions`` of the target, with check-and-set."""

    kind: ClassVar[str] = "service-intentions"

    def fields(self, params: IntentionParams) -> JsonObject:
        return {"Name": params.source, "Type": "consul", "Action": params.action}

    def _entry(self, params: IntentionParams, intent: Intent, before: JsonObject | None) -> JsonObject:
        sources: list[JsonObject] = list((before or {}).get("Sources") or [])
        if any(s.get("LegacyID") or s.get("LegacyMeta") for s in sources):
            raise ActionRefused(
                f"the intentions of {intent.target.service} were written by id and would lose it: write them once "
                "as a service-intentions entry, then they can be changed and put back"
            )
        mine = self.fields(params) | {"Description": f"consulguard {intent.incident_id}".strip()}
        rest = [s for s in sources if not _is_of(s, params.source, intent.target)]
        bare = {k: v for k, v in (before or {}).items() if k not in ("CreateIndex", "ModifyIndex", "Hash")}
        return {"Kind": self.kind, "Name": intent.target.service} | bare | {"Sources": [*rest, mine]}


def _is_of(source: JsonObject, name: str, target: Target) -> bool:
    """Whether a source of the entry is this very service, of the destination's own namespace and partition."""
    near = all(
        source.get(field, "") in (*ANYWHERE, own)
        for field, own in (("Namespace", target.namespace), ("Partition", target.partition))
    )
    return source.get("Name") == name and near and not source.get("Peer") and not source.get("SamenessGroup")


def _namespaces(target: Target) -> JsonObject:
    return (
        {} if target.namespace in ANYWHERE else {"SourceNS": target.namespace, "DestinationNS": target.namespace}
    )


def _is_gone_or_there(error: ConsulUnavailable) -> bool:
    """Consul's words for a row that came, or went, since it was read: it was not written."""
    said = sentence_of(error).lower()
    return "duplicate intention" in said or "non-existent intention" in said


class ConsulIntention(Action[IntentionParams]):
    """Deny or allow new connections of one service to the target's; established ones stay."""

    name: ClassVar[str] = NAME
    Params: ClassVar[type[Strict]] = IntentionParams
    touches: ClassVar[str] = "service"
    idempotent: ClassVar[bool] = True  # a second try sees the mark of the first
    undoable: ClassVar[bool] = True

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.service:
            raise ActionRefused(f"{self.name} needs a service, not a node")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed, to = self.parse(intent.target, params), intent.target.service
        if intent.undo:
            return f"put the intention {parsed.source} => {to} back as it was before, or delete it"
        return f"{parsed.action} {parsed.source} => {to} by PUT /v1/config?cas=<index>; before 1.9 by {ROWS}"

    async def do(self, params: IntentionParams, intent: Intent, ctx: ActContext) -> Ending:
        return await (await _way(params.source, ctx)).do(params, intent, ctx)

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        way, saved = await self._taken(intent, ctx), self.own(intent)
        if saved is not None and saved["kind"] != way.kind:
            return failed("Consul keeps intentions in another way since then: not undone")
        return await way.restore(intent, ctx)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        return await (await self._taken(intent, ctx)).seen(intent, ctx)

    async def _taken(self, intent: Intent, ctx: ActContext) -> _Way:
        """The way of the intent, or of the one it takes back."""
        saved = self.own(intent)
        return await _way(str(saved["source"]) if saved else self.parse(intent.target, intent.params).source, ctx)


async def _way(source: str, ctx: ActContext) -> _Way:
    """The way of this Consul. Raises NotSent when it cannot tell its version, ActionRefused when it will not."""
    try:
        version = parse_version((await versions(ctx.consul)).version)
    except (ConsulUnavailable, BadAnswer) as error:
        raise NotSent(f"nothing was changed: {error}") from error
    if not version:
        raise ActionRefused(
            'Consul does not tell its version: give the token agent "<our node>" { policy = "read" }'
        )
    return _Entry(source) if version >= SERVICE_INTENTIONS else _Row(source)
