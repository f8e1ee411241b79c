"""How often: a token bucket, and a back-off with jitter."""

from __future__ import annotations

import asyncio
import random


class Bucket:
    """Gives ``burst`` turns at once, then ``rate`` a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at: float | None = None

    def delay(self) -> float:
        """Take a turn; returns how many seconds to wait before using it."""
        now = asyncio.get_running_loop().time()
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate)

    def refill(self) -> None:
        """What was asked so far no longer counts."""
        self._tokens = self._burst


class Backoff:
    """Doubles from ``least_s`` to ``most_s``, each time with up to a half taken off at random."""

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._next_s = least_s

    def reset(self) -> None:
        self._next_s = self._least_s

    def next(self) -> float:
        delay, self._next_s = self._next_s, min(self._most_s, self._next_s * 2)
        return delay * random.uniform(0.5, 1.0)
