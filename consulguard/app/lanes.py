"""Lanes: same key in order, different keys in parallel. Every task has a parent, a name and an end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Job = Callable[[], Awaitable[None]]


class Lanes:
    """Runs jobs of one key one after the other. A lane lives only while it has jobs."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._waiting: dict[str, deque[Job]] = {}

    def put(self, key: str, job: Job) -> None:
        """Queue a job; it starts at once when its lane is idle."""
        if key in self._waiting:
            self._waiting[key].append(job)
            return
        self._waiting[key] = deque([job])
        self._group.create_task(self._drain(key), name=f"lane {key}")

    @property
    def busy(self) -> int:
        """Lanes at work."""
        return len(self._waiting)

    async def _drain(self, key: str) -> None:
        jobs = self._waiting[key]
        try:
            while jobs:
                await jobs.popleft()()
        finally:
            del self._waiting[key]
