"""Change windows: is it open at a moment, and when is it next?

A window is open while a clock on the wall of its zone shows a time within one of its openings, and no blackout
holds. So on the day the clocks go forward an opening in the skipped hour does not happen, and on the day they go
back one in the doubled hour happens twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from consulguard.policy import Blackout, Opening, Window

DAY_MIN = 24 * 60
DAYS_AHEAD = 16  # a weekly opening that the skipped hour swallows is back after two weeks
MARGIN = timedelta(hours=3)  # around a day's two midnights, which the clocks may skip or double


def closed_by(window: Window, at: datetime) -> Blackout | None:
    """The blackout that holds at ``at``; of several the one that ends last."""
    holding = [b for b in window.closed if b.since <= at < b.until]
    return max(holding, key=lambda b: b.until, default=None)


def is_open(window: Window, at: datetime) -> bool:
    """Raises LookupError for a zone this machine does not know."""
    return closed_by(window, at) is None and _within(window, at)


def next_open(window: Window, at: datetime) -> datetime | None:
    """The first moment from ``at`` on at which it is open; None where there is none in sight."""
    for _ in range(len(window.closed) + 1):
        opens = _next_opening(window, at)
        blackout = closed_by(window, opens) if opens is not None else None
        if blackout is None:
            return opens
        at = blackout.until
    return None


def _within(window: Window, at: datetime) -> bool:
    if not window.open:
        return True
    wall = at.astimezone(ZoneInfo(window.zone))
    return any(_covers(opening, wall.weekday(), wall.hour * 60 + wall.minute) for opening in window.open)


def _covers(opening: Opening, weekday: int, minute: int) -> bool:
    """Whether the opening covers this minute of this weekday; one across midnight belongs to the day it begins."""
    if opening.end > opening.start:
        return weekday in opening.days and opening.start <= minute < opening.end
    evening = weekday in opening.days and minute >= opening.start
    return evening or ((weekday - 1) % 7 in opening.days and minute < opening.end)


def _next_opening(window: Window, at: datetime) -> datetime | None:
    """Blackouts aside. It can only open when an opening starts, or when the clocks are changed."""
    if _within(window, at):
        return at
    zone = ZoneInfo(window.zone)
    today = at.astimezone(zone).date()
    for ahead in range(-1, DAYS_AHEAD):
        day = today + timedelta(days=ahead)
        moments = (m for m in (*_starts(window, zone, day), *_changes(zone, day)) if m > at)
        found = min((m for m in moments if m.astimezone(zone).date() == day and _within(window, m)), default=None)
        if found is not None:
            return found
    return None


def _starts(window: Window, zone: ZoneInfo, day: date) -> Iterator[datetime]:
    """When the wall clock shows a start on that day: never, once or twice. In the skipped hour: near it."""
    for opening in window.open:
        for fold in (0, 1):
            wall = datetime(day.year, day.month, day.day, tzinfo=zone, fold=fold)
            yield wall.replace(hour=opening.start // 60, minute=opening.start % 60).astimezone(UTC)


def _changes(zone: ZoneInfo, day: date) -> Iterator[datetime]:
    """The moment the clocks are changed on that day, to the second."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    before = midnight.astimezone(UTC) - MARGIN
    after = (midnight + timedelta(days=1)).astimezone(UTC) + MARGIN
    old = before.astimezone(zone).utcoffset()
    if after.astimezone(zone).utcoffset() == old:
        return
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == old else (before, middle)
    yield after
