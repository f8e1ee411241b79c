"""What people say to a bot through its socket."""

from __future__ import annotations

import contextlib

import aiohttp

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.support.waiting import eventually

PEOPLE = ("ann", "bob")  # what is destructive needs two
ASKED_S = 180.0  # gossip takes its time to give an agent up, the longer the more die at once


async def agree(bot: Bot, root: str, person: str) -> None:
    """What ``consulguard approval approve`` sends, once the bot asks about ``root``. It may die of the last."""

    async def asked() -> str:
        assert bot.runs, bot.output()
        return journal.told(bot.journal).fact(root, "Approval")

    text = await eventually(asked, bool, within_s=ASKED_S)
    body = {"command": "approve", "args": {"id": text.split()[-1], "users": [person]}, "who": person}
    connector = aiohttp.UnixConnector(path=str(bot.journal.with_suffix(".sock")))
    async with aiohttp.ClientSession(connector=connector) as session:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.post("http://daemon/v1/command", json=body) as answer:
                said = await answer.json()
                assert said.get("ok"), said
