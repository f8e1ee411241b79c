"""Time that moves only when told, and an event loop that lives in it: one loop is one process."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    """The one clock of a model run; it is the processes' ``Clock`` as well."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def not_before(self, at: datetime) -> None:
        self.seconds = max(self.seconds, (at - START).total_seconds())

    def ahead_s(self) -> float:
        return 0.0


class ProcessLoop(asyncio.SelectorEventLoop):
    """Runs only inside ``drain``: between two drains the process stands still, as after SIGSTOP."""

    def __init__(self, time: Time) -> None:
        self._model_time = time
        self.frozen = False  # set from inside: SIGSTOP, as soon as may be
        self.errors: list[dict[str, Any]] = []
        super().__init__()
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self._model_time.seconds

    def drain(self) -> None:
        """Do everything that can be done now."""
        self.frozen = False
        while True:
            self.call_soon(self.stop)
            self.run_forever()
            if self.frozen or not (self._ready or self._due()):  # type: ignore[attr-defined]
                return

    def next_timer(self) -> float | None:
        """When the loop has something to do next, in seconds of the model."""
        times = [t.when() for t in self._scheduled if not t.cancelled()]  # type: ignore[attr-defined]
        return min(times, default=None)

    def _due(self) -> bool:
        first = self.next_timer()
        return first is not None and first <= self.time()

    def end(self) -> None:
        """The process is gone: what it was about to do is cancelled, and nothing of it is heard of again."""
        while left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self.drain()
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()
