"""When much fails at once: one board of what still fails per channel, and one summary instead of a flood.

The board is a message that is edited in place as incidents open and end. Where more incidents wait to be told than
people could read, those nobody was told of go into one summary, and each is told by itself again with its next
news. Both are rows of the outbox like any other, so they survive a restart and keep the channel's pace.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from consulguard.clock import Clock
from consulguard.model import Message, OutboxRow, StillOpen
from consulguard.notify import text

BOARD = "board"
SHOWN = 15  # incidents listed before "+n more"
SUMMARY_S = 10.0  # between two edits of a summary
CALM_S = 60.0  # a flood is over when so long no more came than can be told one by one
_WORST = ("critical", "warning", "acknowledged", "silenced")


class CrowdStore(Protocol):
    """The part of a journal this needs."""

    async def outbox_open(self, channel: str, board: str, most: int) -> StillOpen: ...

    async def outbox_crowd(self, channel: str, keep: int, now: datetime) -> list[OutboxRow]: ...

    async def outbox_add(
        self,
        channel: str,
        message: Message,
        *,
        folded: Sequence[OutboxRow] = (),
        not_before: datetime | None = None,
    ) -> None: ...


class Crowd:
    """Board and summaries of one channel.

    ``most``: so many new ones wait to be told one by one; 0: however many. ``every_s``: between two edits of the
    board; 0: no board.
    """

    def __init__(self, store: CrowdStore, channel: str, clock: Clock, *, most: int, every_s: float) -> None:
        self._store = store
        self._channel = channel
        self._clock = clock
        self._most = most
        self._every_s = every_s
        self._stale = True  # the board may say something else than what is
        self._looked_at = -math.inf  # when the board was last compared with what is
        self._told_at = -math.inf  # when the present summary was last told
        self._lately: deque[tuple[float, int]] = deque()  # when how many were folded
        self._summary = ""  # the present one's key, while a flood lasts
        self._names: list[str] = []
        self._count = 0

    async def fold(self) -> None:
        """Put what is too much to be told one by one into the summary."""
        if not self._most:
            return
        flood = self._flood()
        now = self._clock.now()
        rows = await self._store.outbox_crowd(self._channel, 0 if flood else self._most, now)
        if not rows:
            return
        if not flood:
            self._summary, self._names, self._count = f"summary-{now:%Y%m%dT%H%M%S.%f}", [], 0
        names = self._names + [text.headline(row.message) for row in rows][: SHOWN - len(self._names)]
        told = summary(self._summary, self._count + len(rows), names, now)
        await self._store.outbox_add(self._channel, told, folded=rows, not_before=self._not_before(now))
        self._names, self._count = names, self._count + len(rows)
        self._lately.append((self._clock.monotonic(), len(rows)))

    async def refresh(self, *, news: bool) -> float:
        """Bring the board up to date; returns after how many seconds to come again at the latest."""
        self._stale = self._stale or news
        if not self._stale or not self._every_s:
            return math.inf
        wait = self._looked_at + self._every_s - self._clock.monotonic()
        if wait > 0:
            return wait
        found = await self._store.outbox_open(self._channel, BOARD, SHOWN)
        last, made = found.board, board(found, self._clock.now())
        if (found.total or last is not None) and (last is None or _said(last.message) != _said(made)):
            await self._store.outbox_add(self._channel, made)
        self._looked_at, self._stale = self._clock.monotonic(), False
        return math.inf

    def told(self, row: OutboxRow) -> None:
        """``row`` is with the people."""
        if row.key == self._summary:
            self._told_at = self._clock.monotonic()

    def _flood(self) -> bool:
        since = self._clock.monotonic() - CALM_S
        while self._lately and self._lately[0][0] < since:
            self._lately.popleft()
        return sum(count for _, count in self._lately) > self._most

    def _not_before(self, now: datetime) -> datetime | None:
        """When the summary may be told again."""
        left = self._told_at + SUMMARY_S - self._clock.monotonic()
        return now + timedelta(seconds=left) if left > 0 else None


def board(found: StillOpen, now: datetime) -> Message:
    """What fails now, in one message. Always version 1: the outbox takes it for news when it reads otherwise."""
    if not found.total:
        return Message(key=BOARD, version=1, severity="resolved", title="Nothing fails now", at=now)
    severities = {row.message.severity for row in found.rows}
    return Message(
        key=BOARD,
        version=1,
        severity=next((severity for severity in _WORST if severity in severities), "warning"),
        title=f"Still failing now: {found.total}",
        at=now,
        text="\n".join([*(_line(row.message) for row in found.rows), *_more(found.total, len(found.rows))]),
    )


def summary(key: str, count: int, names: Sequence[str], now: datetime) -> Message:
    """Many incidents in one message. The version is how many."""
    why = "They came faster than they can be read. Each is told by itself with its next news."
    return Message(
        key=key,
        version=count,
        severity="warning",
        title=f"{count} incidents told together",
        at=now,
        text="\n".join([why, *names, *_more(count, len(names))]),
    )


def _line(message: Message) -> str:
    since = f"since {text.stamp(message.incident.opened_at)}" if message.incident is not None else ""
    asked = "awaiting approval" if text.asks(message) else ""
    return " · ".join(part for part in (text.cut(text.headline(message), 110), asked, since, message.key) if part)


def _more(count: int, shown: int) -> list[str]:
    return [f"+{count - shown} more"] if count > shown else []


def _said(message: Message) -> tuple[str, str, str]:
    return message.severity, message.title, message.text
