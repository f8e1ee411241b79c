"""The recordings of a run: one folder, lines of JSON, each durable before anything goes on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def now() -> float:
    """The machine's own clock, which no replica's false time touches and which runs on whoever is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Notes:
    """``targets``: what reached the targets. ``sends``: what replicas sent them. ``lease``: who had it, as an
    outsider saw. ``said``: what replicas said of their lease. ``faults``: what was done to whom. ``late``: when
    the recorder itself was late."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, **line: Any) -> None:
        with (self.folder / f"{name}.jsonl").open("a") as out:
            out.write(json.dumps({"t": now(), **line}) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def put(self, name: str, what: Any) -> None:
        """A whole document."""
        (self.folder / f"{name}.json").write_text(json.dumps(what, indent=1))
