"""``consul.kv_put`` on a real server."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from consulguard.act import ActContext
from consulguard.model import Outcome
from consulguard.testing.real_consul import RealConsul

from tests.shell.act.support import context, do, intent, look, raw, undo_of

pytestmark = pytest.mark.real


@pytest.fixture
async def ctx(real_consul_module: RealConsul) -> AsyncIterator[ActContext]:
    given = context(real_consul_module.address)
    async with given.consul:
        yield given
    raw(real_consul_module.address, "DELETE", "/v1/kv/flags?recurse")


def pair(consul: RealConsul, key: str = "flags/web%20x") -> Any:
    found = raw(consul.address, "GET", f"/v1/kv/{key}")
    return None if found is None else (base64.b64decode(found[0]["Value"] or ""), found[0]["Flags"])


def put(consul: RealConsul, value: bytes, query: str = "") -> None:
    raw(consul.address, "PUT", f"/v1/kv/flags/web%20x{query}", value)


WANTED = intent("consul.kv_put", {"key": "flags/web x", "value": "öff"})
WRITTEN = "öff".encode()


async def test_written_where_there_was_none_and_deleted_again(
    real_consul_module: RealConsul, ctx: ActContext
) -> None:
    assert await look(WANTED, ctx) is Outcome.RETRY
    result = await do(WANTED, ctx)
    assert (result.outcome, pair(real_consul_module)) == (Outcome.DONE, (WRITTEN, 0))
    assert await look(WANTED, ctx) is Outcome.DONE
    undo = undo_of(WANTED, result)
    assert await look(undo, ctx) is Outcome.RETRY
    assert (await do(undo, ctx)).outcome is Outcome.DONE
    assert pair(real_consul_module) is None
    assert await look(undo, ctx) is Outcome.DONE
    assert (await do(undo, ctx)).outcome is Outcome.DONE


@pytest.mark.parametrize("value", [b"on", b"", b"\xff\x00"])
async def test_the_old_value_and_flags_come_back(
    real_consul_module: RealConsul, ctx: ActContext, value: bytes
) -> None:
    put(real_consul_module, value, "?flags=42")
    result = await do(WANTED, ctx)
    assert pair(real_consul_module) == (WRITTEN, 42)
    assert (await do(undo_of(WANTED, result), ctx)).outcome is Outcome.DONE
    assert pair(real_consul_module) == (value, 42)


@pytest.mark.parametrize("existed", [False, True])
async def test_a_change_between_read_and_write_wins(
    real_consul_module: RealConsul, ctx: ActContext, existed: bool
) -> None:
    if existed:
        put(real_consul_module, b"on")

    def meanwhile(name: str) -> None:
        if name == "act.before_send":
            put(real_consul_module, b"theirs")

    result = await do(WANTED, replace(ctx, failpoint=meanwhile))
    assert (result.outcome, pair(real_consul_module)) == (Outcome.FAILED, (b"theirs", 0))


async def test_what_somebody_changed_after_us_is_not_undone(
    real_consul_module: RealConsul, ctx: ActContext
) -> None:
    result = await do(WANTED, ctx)
    put(real_consul_module, b"theirs")
    assert (await do(undo_of(WANTED, result), ctx)).outcome is Outcome.FAILED
    assert pair(real_consul_module) == (b"theirs", 0)


async def test_a_value_that_was_there_already_is_not_undone_by_guessing(
    real_consul_module: RealConsul, ctx: ActContext
) -> None:
    put(real_consul_module, WRITTEN)
    result = await do(WANTED, ctx)
    assert (result.outcome, result.saved) == (Outcome.DONE, None)
    assert (await do(undo_of(WANTED, result), ctx)).outcome is Outcome.FAILED
    assert pair(real_consul_module) == (WRITTEN, 0)


async def test_a_locked_key_is_left_alone(real_consul_module: RealConsul, ctx: ActContext) -> None:
    session = raw(real_consul_module.address, "PUT", "/v1/session/create", {"Name": "theirs"})["ID"]
    put(real_consul_module, b"held", f"?acquire={session}")
    result = await do(WANTED, ctx)
    assert (result.outcome, pair(real_consul_module)) == (Outcome.FAILED, (b"held", 0))


async def test_nothing_is_sent_dry_or_without_the_lease(real_consul_module: RealConsul, ctx: ActContext) -> None:
    for fields in ({"dry_run": True}, {"epoch": 1}):
        await do(msgspec.structs.replace(WANTED, **fields), ctx)
    assert pair(real_consul_module) is None
