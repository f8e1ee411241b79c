"""What a running bot says of its incidents, as ``incident show -o json`` gives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.support.waiting import eventually

SURE = 0.5


@dataclass(frozen=True)
class Seen:
    settled: bool
    open: list[dict[str, Any]]

    @property
    def failing(self) -> set[str]:
        """Services that fail."""
        members = (m for i in self.open for m in i["members"])
        return {m["name"] for m in members if m["kind"] == "service" and m["state"] == "critical"}

    def sure(self, incidents: int) -> bool:
        """Whether there are so many, and we know of each who is to blame."""
        return [i["confidence"] >= SURE for i in self.open] == [True] * incidents


async def told(bot: Bot, what: str, holds: Callable[[Seen], Any], within_s: float = 60.0) -> Seen:
    """Until it says so; what it says then."""

    async def look() -> Seen:
        assert bot.runs, bot.output()
        views = journal.read(bot.journal).events("ViewChanged")
        if not (views and views[-1].body["view"].get("settled")):
            return Seen(False, [])
        listed = (await bot.ask("incident", "list"))["incidents"]
        ids = [i["id"] for i in listed if i["state"] == "open"]
        return Seen(True, [await bot.ask("incident", "show", each) for each in ids])

    try:
        return await eventually(look, holds, within_s=within_s)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}\n{bot.output()}") from None
