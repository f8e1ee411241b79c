"""``consul.kv_put``: set one key, for instance a feature flag that a service watches."""

from __future__ import annotations

import base64
from typing import ClassVar

import msgspec
from pydantic import Field, field_validator

from consulguard.act.base import ActContext, Action, Ending, Strict, done, failed
from consulguard.act.consul_io import decode, read, said_yes, scope_params
from consulguard.act.text import MASK, is_secret, tidy
from consulguard.consulapi import segment
from consulguard.model import Intent, JsonObject, Outcome, Target

OWN_PREFIX = "consulguard/"  # our lease and our state: no playbook writes there


class KvParams(Strict):
    key: str = Field(min_length=1, max_length=512)
    value: str = Field(max_length=64 * 1024)

    @field_validator("key")
    @classmethod
    def _key(cls, key: str) -> str:
        if not key.isprintable() or {"", ".", ".."} & set(key.split("/")):
            raise ValueError("not a usable key: no empty or dot parts, no control characters")
        if key.startswith(OWN_PREFIX):
            raise ValueError(f"{OWN_PREFIX} is our own")
        return key


class _Pair(msgspec.Struct):
    Value: str | None = None  # base64
    Flags: int = 0
    ModifyIndex: int = 0
    Session: str = ""


class ConsulKvPut(Action[KvParams]):
    """Set a key with check-and-set; the old value is saved for the undo."""

    name: ClassVar[str] = "consul.kv_put"
    Params: ClassVar[type[Strict]] = KvParams
    touches: ClassVar[str] = "service"  # whoever reads the key
    idempotent: ClassVar[bool] = True
    undoable: ClassVar[bool] = True

    def preview(self, intent: Intent, params: JsonObject) -> str:
        saved = self.own(intent)
        if intent.undo:
            key = saved["key"] if saved else self.parse(intent.target, params).key
            if saved and saved["value"] is None:
                return f"DELETE {_path(key)}?cas=<index>"
            return f"PUT {_path(key)}?cas=<index> with the value it had before"
        parsed = self.parse(intent.target, params)
        secret = any(is_secret(part) for part in parsed.key.split("/"))
        return f"PUT {_path(parsed.key)}?cas=<index> {MASK if secret else tidy(parsed.value)}"

    async def do(self, params: KvParams, intent: Intent, ctx: ActContext) -> Ending:
        before = await _read(params.key, intent.target, ctx)
        if before and _value(before) == params.value.encode():
            return done(f"{params.key} holds the value already")
        if before and before.Session:
            return failed(f"{params.key} is locked by session {before.Session}: not written")
        flags = before.Flags if before else 0
        if not await _put(params.key, params.value.encode(), flags, before, intent, ctx):
            return failed(f"{params.key} was changed by someone else meanwhile")
        saved = {
            "action": self.name,
            "key": params.key,
            "wrote": _text(params.value.encode()),
            "value": _text(_value(before)) if before else None,
            "flags": flags,
        }
        return done(f"{params.key} is written", saved=saved)

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        saved = self.own(intent)
        if saved is None:
            return failed("what the key held before we came is not known: not undone")
        key = saved["key"]
        present = await _read(key, intent.target, ctx)
        value = None if present is None else _text(_value(present))
        if value == saved["value"]:
            return done(f"{key} is as it was before")
        if present is None or value != saved["wrote"]:
            return failed(f"{key} was changed by someone else: not undone")
        if saved["value"] is None:
            good = await _delete(key, present, intent, ctx)
        else:
            good = await _put(key, base64.b64decode(saved["value"]), saved["flags"], present, intent, ctx)
        return done(f"{key} is put back") if good else failed(f"{key} was changed by someone else: not undone")

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        saved = self.own(intent)
        if intent.undo and saved is None:
            return Outcome.UNKNOWN
        key = saved["key"] if intent.undo and saved else self.parse(intent.target, intent.params).key
        present = await _read(key, intent.target, ctx)
        value = None if present is None else _text(_value(present))
        if intent.undo and saved:
            return Outcome.DONE if value == saved["value"] else Outcome.RETRY
        wanted = _text(str(intent.params["value"]).encode())
        return Outcome.DONE if value == wanted else Outcome.RETRY


def _path(key: str) -> str:
    return "/v1/kv/" + "/".join(segment(part) for part in key.split("/"))


def _value(pair: _Pair) -> bytes:
    return base64.b64decode(pair.Value or "")


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


async def _read(key: str, target: Target, ctx: ActContext) -> _Pair | None:
    answer = await read(ctx, _path(key), params=scope_params(target))
    pairs: list[_Pair] = decode(answer, list[_Pair]) if answer else []
    return pairs[0] if pairs else None


async def _put(key: str, value: bytes, flags: int, before: _Pair | None, intent: Intent, ctx: ActContext) -> bool:
    cas = {"cas": str(before.ModifyIndex if before else 0), "flags": str(flags)}
    with ctx.effect(intent):
        params = scope_params(intent.target) | cas
        return said_yes(await ctx.consul.send("PUT", _path(key), params=params, data=value))


async def _delete(key: str, present: _Pair, intent: Intent, ctx: ActContext) -> bool:
    params = scope_params(intent.target) | {"cas": str(present.ModifyIndex)}
    with ctx.effect(intent):
        return said_yes(await ctx.consul.send("DELETE", _path(key), params=params))
