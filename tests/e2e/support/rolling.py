"""A pair whose leaders end and begin again while services fail, are repaired, and people are told in Slack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consulguard.testing import SlackTwin
from consulguard.testing.slack_state import SlackMessage

from tests.e2e.support.fenced import Fenced
from tests.e2e.support.pair import Pair, own_servers
from tests.e2e.support.roles import Roles
from tests.support.postgresql import RealPostgres
from tests.support.waiting import eventually

DRAIN_S = 300.0
AT_ONCE = 2  # more that fail by themselves look like one cause that nobody sees, and are left alone


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the outbox holds, beside what the twin shows."""

    messages: int  # rows of the outbox
    pending: int  # of them not delivered in their newest version
    lost: int  # messages that are not in the channel, or not as they were told last; lines missing in a thread
    twice: int  # messages, and lines in a thread, that are there once too often


class Rolling:
    """``services`` fail one after the other, each once; a restart of one makes its check pass."""

    def __init__(self, pair: Pair, target: Fenced, slack: SlackTwin, services: int) -> None:
        self.pair = pair
        self.target = target
        self.slack = slack
        self.roles = Roles(pair, "s-.*")
        self.effects: Counter[str] = Counter()
        self.failed: list[str] = []
        self._services = [f"s-{number}" for number in range(services)]

    async def effect(self, name: str) -> None:
        self.effects[name] += 1
        await self.pair.heal(name)

    async def begin(self) -> None:
        for name in self._services:
            await self.pair.register(name)
        await self.roles.begin()

    async def load(self, every_s: float) -> None:
        """One more fails every now and then, until cancelled or none is left."""
        while self._services:
            if len(self.unrepaired()) < AT_ONCE:
                name = self._services.pop(0)
                self.failed.append(name)
                await self.pair.fail(name)
            await asyncio.sleep(every_s)

    async def restart(self) -> float:
        return await self._ended(signal.SIGTERM)

    async def kill(self) -> float:
        return await self._ended(signal.SIGKILL)

    async def _ended(self, how: signal.Signals) -> float:
        """Seconds until another led; returns when that one may act."""
        took = await self.roles.end_of_leader(how)
        await self.roles.acts()
        return took

    async def repaired(self) -> None:
        """All that failed."""
        await self.pair.until("all are repaired", lambda: not self.unrepaired(), within_s=DRAIN_S)

    def unrepaired(self) -> list[str]:
        return [name for name in self.failed if not self.effects[name]]

    # ---- what was told

    async def delivered(self) -> Told:
        """When all is over and the outbox has nothing left to tell, or after a while."""

        async def look() -> Told:
            return self.told()

        with contextlib.suppress(AssertionError):
            return await eventually(look, self._all_told, within_s=DRAIN_S)
        return self.told()

    def _all_told(self, told: Told) -> bool:
        over = [m for m in self.pair.journal.record(told=True).messages.values() if m["severity"] == "resolved"]
        return not told.pending and len(over) >= len(self.failed)

    def told(self) -> Told:
        rows = self.pair.journal.ask(
            "SELECT key, message, state, told, skipped FROM outbox WHERE channel = 'slack' ORDER BY queued"
        )
        lost = twice = 0
        for _, body, _, lines, skipped in rows:
            message = json.loads(body)
            posts = [post for post in self.slack.parents() if _is_about(post, message)]
            there = sum(_lines(reply) for post in posts for reply in self.slack.thread(post.ts))
            lost += not any(message["severity"].upper() in post.text for post in posts)
            lost += max(0, lines - skipped - there)
            twice += max(0, len(posts) - 1) + max(0, there - lines)
        pending = sum(state != "sent" for _, _, state, _, _ in rows)
        return Told(messages=len(rows), pending=pending, lost=lost, twice=twice)


def _is_about(post: SlackMessage, message: dict[str, Any]) -> bool:
    """An incident's by its mark; any other by its words."""
    incident = (message.get("incident") or {}).get("id", "")
    marked = post.metadata.get("event_payload", {}).get("incident", "")
    return bool(marked == incident) if incident else not marked and message["title"] in post.text


def _lines(reply: SlackMessage) -> int:
    """Of the thread, that this message tells."""
    return int(reply.blocks[0]["text"]["text"].count("\n")) + 1


@contextlib.asynccontextmanager
async def rolling(postgres: RealPostgres, name: str, services: int, *, ttl: str = "0s") -> AsyncIterator[Rolling]:
    """A pair with a Consul and a Slack of its own, at work. ``ttl``: of the lease; 0s is the default."""
    made: Rolling
    async with contextlib.AsyncExitStack() as stack:
        consul, journal, folder = await stack.enter_async_context(own_servers(postgres, name))
        target = await stack.enter_async_context(Fenced(lambda about: made.effect(about)))
        slack = await stack.enter_async_context(SlackTwin())
        lease = {"backend": "consul", "key": f"consulguard/{name}", "ttl": ttl}
        pair = Pair(consul, journal, folder, target, coordinate=lease, **_in_slack(slack, folder))
        stack.push_async_callback(pair.end)
        made = Rolling(pair, target, slack, services)
        await made.begin()
        yield made


def _in_slack(slack: SlackTwin, folder: Path) -> dict[str, Any]:
    token = folder / "token"
    token.write_text(slack.token)
    token.chmod(0o600)
    given = {"enabled": True, "channel": "#incidents", "bot_token_file": str(token), "api_url": slack.api}
    return {"slack": given, "notify": {"board_interval": "0s"}}
