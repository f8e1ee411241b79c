"""The alarm that needs no journal: every channel is told, whatever the others do, and again when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from consulguard.app.holding import Alarm
from consulguard.clock import FakeClock
from consulguard.errors import ConsulguardError, NotifyRefused, NotifyUnavailable, StoreFull, StoreUnavailable
from consulguard.model import JsonObject, OutboxRow


class Channel:
    """Fails with each of ``errors`` first, then remembers what it was given."""

    def __init__(self, name: str, *errors: ConsulguardError) -> None:
        self.name = name
        self._errors = list(errors)
        self.rows: list[OutboxRow] = []
        self.closed = 0

    async def deliver(self, row: OutboxRow) -> JsonObject:
        if self._errors:
            raise self._errors.pop(0)
        self.rows.append(row)
        return {"post": self.name}

    async def close(self) -> None:
        self.closed += 1


def alarm(channels: Sequence[Channel]) -> Alarm:
    return Alarm(lambda: channels, FakeClock())


async def test_each_channel_is_told_and_the_same_message_says_when_it_is_over() -> None:
    busy = Channel(
        "busy", NotifyUnavailable("429", retry_after_s=0.01), NotifyUnavailable("503", retry_after_s=0.01)
    )
    refusing = Channel("refusing", NotifyRefused("no such channel"))
    channels = [busy, refusing, Channel("fine")]
    ours = alarm(channels)
    await ours.over()
    assert [c.rows for c in channels] == [[], [], []]
    await ours.sound(StoreFull("append: 3 KiB are left"))
    await ours.over()
    assert [len(c.rows) for c in channels] == [2, 1, 2]
    first, second = busy.rows
    assert (first.message.severity, first.ref) == ("critical", {})
    assert "3 KiB are left" in first.message.text
    assert "until somebody resumes" in first.message.text
    assert (second.message.severity, second.ref, second.key) == ("resolved", {"post": "busy"}, first.key)
    assert second.message.version > first.message.version
    assert [c.closed for c in channels] == [2, 2, 2]


async def test_a_channel_that_stays_away_is_given_up() -> None:
    away = Channel("away", *[NotifyUnavailable("503", retry_after_s=0.01)] * 3)
    await alarm([away]).sound(StoreUnavailable("append: disk I/O error"))
    assert (away.rows, away.closed) == ([], 1)
