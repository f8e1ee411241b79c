"""A channel that only remembers."""

from __future__ import annotations

from consulguard.model import JsonObject, OutboxRow


class RecordingNotifier:
    """Keeps every row it is given. Errors put into ``failures`` are raised first, one for each delivery."""

    def __init__(self, name: str = "recording") -> None:
        self.name = name
        self.rows: list[OutboxRow] = []
        self.failures: list[Exception] = []

    async def deliver(self, row: OutboxRow) -> JsonObject:
        if self.failures:
            raise self.failures.pop(0)
        self.rows.append(row)
        return {"channel": self.name, "ts": str(len(self.rows))}

    async def close(self) -> None:
        """Nothing to close."""
