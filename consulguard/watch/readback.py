"""A key that left all sets is read back: recovered, gone, or only between two sets."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

from consulguard.clock import Clock
from consulguard.consulapi import Answer, ConsulClient, segment
from consulguard.errors import BadAnswer, ConsulguardError, ConsulRefused, ConsulUnavailable
from consulguard.model import Observation
from consulguard.watch.book import Key, by_key, is_maintenance
from consulguard.watch.decode import NODE_MAINTENANCE, SERVICE_MAINTENANCE, Check, NodeServices
from consulguard.watch.health import HealthFeeds
from consulguard.watch.settings import WatchSettings
from consulguard.watch.view import ViewKeeper

PARALLEL = 4  # node reads at once
RETRY_S = 1.0
NodeKey = tuple[str, str, str]  # partition, peer, node


class ReadBack:
    """Reads the nodes of departed keys. ``may_see`` says whether an absence can be believed at all."""

    def __init__(
        self,
        client: ConsulClient,
        health: HealthFeeds,
        clock: Clock,
        view: ViewKeeper,
        settings: WatchSettings,
    ) -> None:
        self._client = client
        self._health = health
        self._clock = clock
        self._view = view
        self._settings = settings
        self._due: dict[Key, float] = {}
        self._wake = asyncio.Event()
        self._failed = False
        self.may_see: Callable[[], Awaitable[bool]] = _yes

    def add(self, keys: Iterable[Key]) -> None:
        """Keys that left; each is read after ``confirm_after_s``, by when it may have come back."""
        due = asyncio.get_running_loop().time() + self._settings.confirm_after_s
        for key in keys:
            self._due.setdefault(key, due)
        if self._due:
            self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wait()
            now = asyncio.get_running_loop().time()
            keys = [key for key, due in self._due.items() if due <= now]
            nodes: dict[NodeKey, list[Key]] = defaultdict(list)
            for key in keys:
                del self._due[key]
                if key in self._health.book.known and not self._health.book.present(key):
                    nodes[key[:3]].append(key)
            await self._read_all(nodes)

    async def _wait(self) -> None:
        """Until the earliest key is due."""
        self._wake.clear()
        if not self._due:
            await self._wake.wait()
        delay = min(self._due.values()) - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, delay))

    async def _read_all(self, nodes: dict[NodeKey, list[Key]]) -> None:
        gate = asyncio.Semaphore(PARALLEL)
        self._failed = False
        async with asyncio.TaskGroup() as group:
            for node, keys in nodes.items():
                group.create_task(self._read(gate, node, keys), name=f"read back {node[2]}")
        if nodes and not self._failed:
            self._view.clear("read-back")

    async def _read(self, gate: asyncio.Semaphore, node: NodeKey, keys: list[Key]) -> None:
        async with gate:
            try:
                answer = await self._client.get(f"/v1/health/node/{segment(node[2])}", params=_peer(node[1]))
                if not _sound(answer):
                    raise BadAnswer("the answer is frozen or filtered by ACLs")
                found, _ = by_key(answer.json(list[Check]))
                over = {key: await self._fate(key, found) for key in keys if key not in found}
            except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
                self._again(node, keys, error)
                return
        async with self._health.lock:
            await self._health.tell(self._seen(keys, found, over))

    def _seen(self, keys: list[Key], found: dict[Key, Check], over: dict[Key, str]) -> list[Observation]:
        book, at = self._health.book, self._clock.now()
        seen: list[Observation | None] = []
        for key in keys:
            if book.present(key):
                continue  # it came back while its node was read
            if (check := found.get(key)) is not None:
                seen.append(book.see(key, check, at))
            elif over.get(key) == "lifted":
                seen.append(book.lifted(key, at))
            elif over.get(key) == "absent":
                seen.append(book.absent(key, at))
        self._later([key for key in keys if key in book.known])
        return [o for o in seen if o is not None]

    async def _fate(self, key: Key, found: dict[Key, Check]) -> str:
        """Of a key that is not registered: ``absent``, ``lifted`` (maintenance over), or ``unknown``."""
        if not await self.may_see():
            return "unknown"
        if not is_maintenance(key):
            return "absent"
        if key[4] == NODE_MAINTENANCE:
            return "lifted" if found else "absent"
        instance = key[4].removeprefix(SERVICE_MAINTENANCE)
        if any(check.ServiceID == instance for check in found.values()):
            return "lifted"
        answer = await self._client.get(f"/v1/catalog/node/{segment(key[2])}", params=_peer(key[1]))
        row: NodeServices | None = answer.json(NodeServices | None)
        return "lifted" if row and instance in (row.Services or {}) else "absent"

    def _again(self, node: NodeKey, keys: list[Key], error: ConsulguardError) -> None:
        self._failed = True
        text = f"node {node[2]!r}, whose checks have left the feeds, cannot be read: {error}"
        self._view.problem("read-back", text, grace_s=self._settings.grace_s)
        self._later(keys)

    def _later(self, keys: Iterable[Key]) -> None:
        due = asyncio.get_running_loop().time() + RETRY_S
        self._due.update(dict.fromkeys(keys, due))


def _sound(answer: Answer) -> bool:
    return answer.known_leader is not False and not answer.filtered_by_acls


def _peer(peer: str) -> dict[str, str]:
    return {"peer": peer} if peer else {}


async def _yes() -> bool:
    return True
