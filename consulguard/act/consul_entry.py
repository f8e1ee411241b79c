"""What the actions on config entries share: read, remember, write with cas, and put back.

Every entry we write carries marks in its ``Meta``: which intent wrote it, for which incident, and, where it fits,
the entry that was there before. So an undo is possible even when the process died before it could write the result
down.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeVar

import msgspec

from consulguard.act.base import ActContext, Action, Ending, Strict, check_target, done, failed
from consulguard.act.consul_io import decode, read, said_yes, scope_params, sentence_of
from consulguard.act.text import tidy
from consulguard.consulapi import Answer, segment
from consulguard.errors import ActionRefused, ConsulRefused, ConsulUnavailable, NotSent
from consulguard.model import Intent, JsonObject, Outcome, Target

MARK = "consulguard"  # Meta: id of the intent that wrote the entry
MARK_INCIDENT = "consulguard-incident"
MARK_PREVIOUS = "consulguard-previous"  # the entry before, as JSON, or "absent"
ABSENT = "absent"
META_MAX = 512  # Consul's limit for one Meta value, characters
INDEXES = ("CreateIndex", "ModifyIndex")

# A 500 with one of these may come before, in the middle of, or after a write; any other 500 is a validation error.
UNCLEAR = (
    "no cluster leader",
    "not the leader",
    "leadership",
    "eof",
    "rpc error getting client",
    "i/o timeout",
    "timed out",
    "deadline",
    "connection re",
    "broken pipe",
    "raft",
    "shutdown",
    "no path to datacenter",
)

P = TypeVar("P", bound=Strict)


class EntryAction(Action[P]):
    """One kind of config entry, of the target's own service."""

    kind: ClassVar[str]  # service-resolver, service-splitter
    touches: ClassVar[str] = "service"
    idempotent: ClassVar[bool] = True  # a second try sees the mark of the first
    undoable: ClassVar[bool] = True

    @abstractmethod
    def fields(self, params: P) -> JsonObject:
        """What the params say, as fields of the entry: None takes one away, those not named stay as they are."""

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.service:
            raise ActionRefused(f"{self.name} needs a service, not a node")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        name = intent.target.service
        if intent.undo and (saved := self.own(intent)) is not None:
            if saved.get("entry") is None:
                return f"DELETE {self._path(name)}"
            return f"PUT /v1/config?cas=<index> {_json(saved['entry'])}"
        if intent.undo:
            return f"PUT /v1/config?cas=<index> with the {self.kind} {name} as it was before, or DELETE it"
        body = self._entry(self.parse(intent.target, params), intent, None) | {"Meta": {MARK: intent.id}}
        return f"PUT /v1/config?cas=<index> {_json(body)}"

    async def do(self, params: P, intent: Intent, ctx: ActContext) -> Ending:
        before = await self._read(intent.target, ctx)
        if _mark(before) == intent.id:
            return self._written(before, intent, _previous(before))
        entry = self._entry(params, intent, before) | {"Meta": _meta(before, intent)}
        written = await self._put(entry, before, intent, ctx)
        after = await self._read_back(intent, ctx)
        if not written and _mark(after) != intent.id:  # else an earlier try of ours was applied in between
            return failed(f"the {self.kind} of {intent.target.service} was changed by someone else meanwhile")
        return self._written(after, intent, before)

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        present = await self._read(intent.target, ctx)
        previous, ours = self._origin(present, intent)
        what = f"the {self.kind} of {intent.target.service}"
        if _same(present, previous):
            return done(f"{what} is as it was before")
        if not ours:
            return failed(f"{what} was changed by someone else: not undone")
        if previous is MISSING:
            return failed(f"what {what} was before is not known: not undone")
        return await self._put_back(previous, present, intent, ctx)

    def _origin(self, present: JsonObject | None, intent: Intent) -> tuple[Any, bool]:
        """What was there before our write, and whether what is there now is exactly what we wrote."""
        saved = self.own(intent)
        if saved is None:  # the process died before the result was written down: our marks tell
            ours = bool(intent.incident_id) and _of_meta(present, MARK_INCIDENT) == intent.incident_id
            return _previous(present) if present else None, ours
        now = (present or {}).get("ModifyIndex")
        return saved["entry"], _mark(present) == saved["mark"] and saved["index"] in (0, now)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        present = await self._read(intent.target, ctx)
        if not intent.undo:
            return Outcome.DONE if _mark(present) == intent.id else Outcome.RETRY
        _, ours = self._origin(present, intent)
        return Outcome.RETRY if ours else Outcome.DONE

    def _entry(self, params: P, intent: Intent, before: JsonObject | None) -> JsonObject:
        fields = {"Kind": self.kind, "Name": intent.target.service, **_bare(before or {}), **self.fields(params)}
        return {key: value for key, value in fields.items() if value is not None}

    # ---- one request each

    def _path(self, name: str) -> str:
        return f"/v1/config/{self.kind}/{segment(name)}"

    def _scope(self, target: Target, ctx: ActContext) -> dict[str, str]:
        primary = ctx.settings.primary_datacenter
        return scope_params(target) | ({"dc": primary} if primary else {})

    async def _read(self, target: Target, ctx: ActContext) -> JsonObject | None:
        answer = await read(ctx, self._path(target.service), params=self._scope(target, ctx))
        return None if answer is None else decode(answer, dict[str, Any])

    async def _read_back(self, intent: Intent, ctx: ActContext) -> JsonObject | None:
        """The entry after our write; a failure here changes nothing about what was done."""
        try:
            return await self._read(intent.target, ctx)
        except NotSent:
            return None

    async def _put(self, entry: JsonObject, before: JsonObject | None, intent: Intent, ctx: ActContext) -> bool:
        """PUT with the index of ``before`` (0: only if absent). False: the index no longer holds."""
        try:
            return await self._write(entry, before, intent, ctx)
        except ConsulUnavailable as error:
            if await self._refused(error, before, intent, ctx):
                sentence = tidy(sentence_of(error))
                raise ActionRefused(f"Consul refused the {self.kind}: {sentence}") from error
            raise

    async def _write(self, entry: JsonObject, before: JsonObject | None, intent: Intent, ctx: ActContext) -> bool:
        cas = {"cas": str((before or {}).get("ModifyIndex", 0))}
        with ctx.effect(intent):
            params = self._scope(intent.target, ctx) | cas
            answer: Answer = await ctx.consul.send("PUT", "/v1/config", params=params, json=entry)
        return said_yes(answer)

    async def _erase(self, present: JsonObject, intent: Intent, ctx: ActContext) -> bool:
        """DELETE. Before 1.11 Consul ignores cas here: the read just before is all the protection there is."""
        params = self._scope(intent.target, ctx) | {"cas": str(present.get("ModifyIndex", 0))}
        with ctx.effect(intent):
            answer = await ctx.consul.send("DELETE", self._path(intent.target.service), params=params)
        return answer.body.strip() != b"false"

    async def _refused(
        self, error: ConsulUnavailable, before: JsonObject | None, intent: Intent, ctx: ActContext
    ) -> bool:
        """Whether a 500 was a validation error, as Consul answers it, and not a write of unknown outcome."""
        if error.status != 500 or any(u in sentence_of(error).lower() for u in UNCLEAR):
            return False
        try:
            return await self._read(intent.target, ctx) == before
        except (NotSent, ConsulRefused):
            return False

    def _written(self, entry: JsonObject | None, intent: Intent, previous: Any) -> Ending:
        index = int((entry or {}).get("ModifyIndex", 0)) if _mark(entry) == intent.id else 0
        saved: JsonObject | None = None
        if previous is not MISSING:
            saved = {"action": self.name, "mark": intent.id, "index": index, "entry": previous and _bare(previous)}
        return done(f"{self.kind} of {intent.target.service} is written", index=index, saved=saved)

    async def _put_back(
        self, previous: JsonObject | None, present: JsonObject | None, intent: Intent, ctx: ActContext
    ) -> Ending:
        what = f"the {self.kind} of {intent.target.service}"
        if previous is not None:
            if not await self._put(_bare(previous), present, intent, ctx):
                return failed(f"{what} was changed by someone else: not undone")
            return done(f"{what} is put back")
        if not await self._erase(present or {}, intent, ctx):
            return failed(f"{what} was changed by someone else: not undone")
        return done(f"{what} is deleted: there was none before")


MISSING: Any = msgspec.UNSET  # what was there before is not known


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _bare(entry: JsonObject) -> JsonObject:
    """The entry without what the server adds."""
    return {k: v for k, v in entry.items() if k not in INDEXES}


def _same(entry: JsonObject | None, other: Any) -> bool:
    if entry is None or other is None:
        return entry is other
    return isinstance(other, dict) and _bare(entry) == _bare(other)


def _of_meta(entry: JsonObject | None, key: str) -> str:
    return str(((entry or {}).get("Meta") or {}).get(key, ""))


def _mark(entry: JsonObject | None) -> str:
    return _of_meta(entry, MARK)


def _meta(before: JsonObject | None, intent: Intent) -> dict[str, str]:
    kept = {k: v for k, v in ((before or {}).get("Meta") or {}).items() if not k.startswith(MARK)}
    meta = {**kept, MARK: intent.id, MARK_INCIDENT: intent.incident_id}
    previous = ABSENT if before is None else _json(_bare(before))
    if len(previous) <= META_MAX:
        meta[MARK_PREVIOUS] = previous
    return meta


def _previous(entry: JsonObject | None) -> Any:
    """The entry before ours as our own mark remembers it: an entry, None (there was none), or MISSING."""
    text = _of_meta(entry, MARK_PREVIOUS)
    if text == ABSENT:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any]) if text else MISSING
    except msgspec.DecodeError:
        return MISSING
