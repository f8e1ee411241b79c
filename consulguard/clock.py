"""The only place that reads a clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Two clocks in one: what people read, and what leases and deadlines count on."""

    def now(self) -> datetime:
        """Aware UTC, never going back within one process even when the wall clock is set back."""
        ...

    def monotonic(self) -> float:
        """Seconds that run on in suspend (CLOCK_BOOTTIME) and never jump."""
        ...

    def not_before(self, at: datetime) -> None:
        """Go on from ``at`` if that is later than now: a journal's time never runs back, nor stands still."""
        ...

    def ahead_s(self) -> float:
        """How far ``now`` is ahead of the wall clock; negative: behind."""
        ...


class SystemClock:
    """Wall time anchored once and carried by CLOCK_BOOTTIME: a step of the wall clock moves no deadline.

    A life that begins with a wall clock behind the journal goes on from the journal's last moment instead.
    """

    def __init__(self) -> None:
        self._wall = datetime.now(UTC)
        self._anchor = self.monotonic()

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self.monotonic() - self._anchor)

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def not_before(self, at: datetime) -> None:
        if at > self.now():
            self._wall, self._anchor = at, self.monotonic()

    def ahead_s(self) -> float:
        return (self.now() - datetime.now(UTC)).total_seconds()


class FakeClock:
    """A clock that moves only when told."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._mono = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._mono

    def not_before(self, at: datetime) -> None:
        self._now = max(self._now, at)

    def ahead_s(self) -> float:
        return 0.0

    def advance(self, seconds: float) -> datetime:
        """Move both clocks on; returns the new now."""
        self._now += timedelta(seconds=seconds)
        self._mono += seconds
        return self._now
