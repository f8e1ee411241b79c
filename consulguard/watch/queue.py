"""What to read next: urgent before fresh before routine, each at its own pace. No I/O; times are monotonic."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush

from consulguard.watch.settings import WatchSettings

Item = tuple[str, str]  # ("service" | "node", name)

AGAIN_S = 5.0  # an item is not read again sooner
FRESH_RATE = 1.0  # a second, once the first round is over
PROXY_SUFFIX = "-sidecar-proxy"  # only a convention, good enough for the order of the first round


class CrawlQueue:
    """Active items (in trouble or focus) are read at once and then every ``refresh_s``, in a crowd one a second;
    new and changed services soon; all others in a slow round.
    """

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings
        self._urgent: dict[Item, float] = {}  # item -> not before
        self._soonest: list[tuple[float, Item]] = []  # heap of the same; an entry is stale unless they agree
        self._fresh: dict[str, None] = {}
        self._round: deque[str] = deque()
        self._quick = 0  # routine reads still to be done at the steady rate
        self._until: dict[Item, float] = {}  # active items, and when they cease to be
        self._read_at: dict[Item, float] = {}
        self._free_at = {"urgent": 0.0, "fresh": 0.0, "routine": 0.0}
        self.first_round_over = False

    def is_active(self, item: Item) -> bool:
        return item in self._until

    def activate(self, items: Iterable[Item], now: float) -> None:
        """These are in trouble or in focus from now on: read them in detail, first if that has not been done."""
        for item in items:
            if item not in self._until:
                self._put(item, now)
            self._until[item] = now + self._settings.linger_s

    def outdated(self, items: Iterable[Item], now: float) -> None:
        """What was read of these is no longer so: read them again, however often they flip not at once."""
        for item in items:
            self.activate([item], now)
            if item not in self._urgent:
                self._put(item, max(now, self._read_at.get(item, 0.0) + AGAIN_S))

    def relate(self, items: Iterable[Item], now: float) -> None:
        """These belong to an active one; unlike it they do not prolong each other."""
        self.activate([item for item in items if item not in self._until], now)

    def changed(self, names: Iterable[str]) -> None:
        """Services that are new or differ; sidecars go first, since they carry the edges."""
        self._fresh.update(dict.fromkeys(sorted(names, key=lambda n: not n.endswith(PROXY_SUFFIX))))

    def bell(self) -> None:
        """Some registration changed, not known which: one round at the steady rate."""
        self._quick = max(self._quick, len(self._round))

    def names(self, names: Iterable[str]) -> None:
        """All services there are now."""
        wanted = set(names)
        known = set(self._round)
        self._round = deque([n for n in self._round if n in wanted] + sorted(wanted - known))
        self._fresh = {n: None for n in self._fresh if n in wanted}
        self._read_at = {i: at for i, at in self._read_at.items() if i[0] == "node" or i[1] in wanted}

    def next(self, now: float) -> tuple[Item | None, float]:
        """The item to read and when (seconds from now, 0: at once); None: nothing to read at all."""
        waiting: list[tuple[float, int, Item]] = []
        while self._soonest and self._urgent.get(self._soonest[0][1]) != self._soonest[0][0]:
            heappop(self._soonest)
        if self._soonest:
            due, item = self._soonest[0]
            waiting.append((max(due, self._free_at["urgent"]), 0, item))
        if self._fresh:
            waiting.append((self._free_at["fresh"], 1, ("service", next(iter(self._fresh)))))
        if self._round:
            waiting.append((self._free_at["routine"], 2, ("service", self._round[0])))
        if not waiting:
            return None, 1.0
        at, _, item = min(waiting, key=lambda w: (max(now, w[0]), w[1]))
        return item, max(0.0, at - now)

    def started(self, item: Item, now: float) -> None:
        """``item`` is being read now."""
        self._read_at[item] = now
        if item in self._urgent:
            del self._urgent[item]
            self._free_at["urgent"] = now + 1 / self._settings.crawl_rate
        elif item[1] in self._fresh:
            rate = FRESH_RATE if self.first_round_over else self._settings.crawl_rate
            self._free_at["fresh"] = now + 1 / rate
        elif self._round and self._round[0] == item[1]:
            self._round.rotate(-1)
            self._free_at["routine"] = now + self._routine_gap_s()
            self._quick = max(0, self._quick - 1)
        if item[0] == "service":
            self._fresh.pop(item[1], None)
        if self._round and not self._fresh:
            self.first_round_over = True

    def again(self, item: Item, now: float) -> None:
        """Reading ``item`` failed: as if it had not been tried, but not at once."""
        if item in self._until:
            if item not in self._urgent:
                self._put(item, now + AGAIN_S)
        elif item[0] == "service":
            self._fresh[item[1]] = None

    def tick(self, now: float) -> list[str]:
        """Once a second: refresh what is active. Returns the nodes that are let go, calm for long."""
        calm: list[str] = []
        for item in [item for item, until in self._until.items() if until <= now]:
            del self._until[item]
            if item[0] == "service":
                self._fresh[item[1]] = None  # read once more, to drop the details
            else:
                calm.append(item[1])
        read = ((self._read_at.get(item, 0.0), item) for item in self._until if item not in self._urgent)
        last, oldest = min(read, default=(now, None))
        if oldest is not None and now - last >= self._settings.refresh_s:
            self._put(oldest, now)
        return calm

    def _put(self, item: Item, due: float) -> None:
        self._urgent[item] = due
        heappush(self._soonest, (due, item))

    def _routine_gap_s(self) -> float:
        steady = 1 / self._settings.crawl_rate_steady
        return steady if self._quick else max(steady, self._settings.crawl_round_s / max(1, len(self._round)))
