"""How calls between services fare, asked of Prometheus: what no health check sees, and its callers do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from consulguard.act import Prometheus
from consulguard.clock import Clock
from consulguard.correlate import calls_fail
from consulguard.errors import ActionRefused, NotSent
from consulguard.events import CallsMeasured
from consulguard.model import CallRate

MISSES = 3  # queries in a row without an answer: from then on nothing is known
NEWS = 0.2  # a share that moved by this much is told again
PAIRS_MAX = 20_000  # of caller and callee in one answer
NAME_MAX = 256  # characters
Pair = tuple[str, str]
log = structlog.get_logger("consulguard.app")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    query: str  # gives the share of failed calls, 0..1, by caller and callee
    caller: str  # label
    callee: str  # label
    failing: float  # from this share on calls fail
    every_s: float


class CallWatch:
    """Asks at intervals and emits what has changed. An answer that does not come is no data."""

    def __init__(
        self,
        prometheus: Prometheus,
        settings: CallSettings,
        clock: Clock,
        emit: Callable[[CallsMeasured], Awaitable[None]],
    ) -> None:
        self._prometheus = prometheus
        self._settings = settings
        self._clock = clock
        self._emit = emit
        self._told: dict[Pair, float] = {}
        self._fails: set[Pair] = set()
        self._missed = 0

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._settings.every_s)

    async def look(self) -> None:
        """One query."""
        try:
            series = await self._prometheus.series(self._settings.query)
        except (NotSent, ActionRefused) as error:
            await self._miss(str(error))
            return
        if self._missed:
            log.info("calls_measured_again")
        self._missed = 0
        if rates := tuple(self._news(self._shares(series))):
            await self._emit(CallsMeasured(at=self._clock.now(), rates=rates))

    async def _miss(self, reason: str) -> None:
        self._missed += 1
        if self._missed == 1:
            log.warning("calls_not_measured", reason=reason)
        if self._missed == MISSES and self._told:
            self._told.clear()
            self._fails.clear()
            await self._emit(CallsMeasured(at=self._clock.now(), lost=reason))

    def _shares(self, series: Iterable[tuple[dict[str, str], float]]) -> dict[Pair, float]:
        """What is a share between two named services; the worst of several for the same two."""
        found: dict[Pair, float] = {}
        for labels, share in series:
            pair = labels.get(self._settings.caller, ""), labels.get(self._settings.callee, "")
            named = all(0 < len(name) <= NAME_MAX for name in pair)
            if named and math.isfinite(share) and 0 <= share <= 1 and (pair in found or len(found) < PAIRS_MAX):
                found[pair] = max(share, found.get(pair, 0.0))
        return found

    def _news(self, shares: dict[Pair, float]) -> Iterable[CallRate]:
        for pair in sorted(self._told.keys() - shares.keys()):
            del self._told[pair]
            self._fails.discard(pair)
            yield CallRate(caller=pair[0], callee=pair[1], failed=None)
        for pair, share in sorted(shares.items()):
            was, told = pair in self._fails, self._told.get(pair)
            fails = calls_fail(share, self._settings.failing, was)
            if told is None or fails != was or abs(share - told) >= NEWS:
                self._told[pair] = share
                (self._fails.add if fails else self._fails.discard)(pair)
                yield CallRate(caller=pair[0], callee=pair[1], failed=round(share, 3))
