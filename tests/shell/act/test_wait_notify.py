"""``wait`` and ``notify``."""

from __future__ import annotations

import asyncio

from consulguard.model import Outcome

from tests.shell.act.support import context, do, intent


async def test_wait_takes_its_time() -> None:
    ctx = context("http://127.0.0.1:9")
    async with ctx.consul:
        before = asyncio.get_running_loop().time()
        result = await do(intent("wait", {"seconds": 1}), ctx)
        assert (result.outcome, result.detail) == (Outcome.DONE, "1 s have passed")
        assert asyncio.get_running_loop().time() - before >= 1.0


async def test_notify_says_its_text() -> None:
    ctx = context("http://127.0.0.1:9")
    async with ctx.consul:
        result = await do(intent("notify", {"text": "call the database team"}), ctx)
        assert (result.outcome, result.detail) == (Outcome.DONE, "call the database team")
