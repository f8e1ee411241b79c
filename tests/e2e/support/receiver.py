"""Targets that remember what was done to them: an HTTP receiver and a command, both durable and both watching that
the attempt was in the journal before it happened."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.served import Served

_COMMAND = """#!{python} -IS
import json, os, sqlite3, sys
recording, journal, careful = {recording!r}, {journal!r}, {careful!r}
con = sqlite3.connect("file:" + journal + "?mode=ro", uri=True, timeout=5)
rows = con.execute("SELECT body FROM entries WHERE kind = 'intent'").fetchall()
attempt = os.environ["CONSULGUARD_INTENT"]
known = any(json.loads(body)["intent"]["id"] == attempt for (body,) in rows)
before = open(recording).read().splitlines() if os.path.exists(recording) else []
seen = any(json.loads(line)["attempt"] == attempt for line in before)
line = dict(attempt=attempt, epoch=int(os.environ["CONSULGUARD_EPOCH"]), journaled=known)
line["effect"] = not (careful and seen)
with open(recording, "a") as out:
    out.write(json.dumps(line) + "\\n")
    out.flush()
    os.fsync(out.fileno())
"""


def make_command(path: Path, recording: Path, journal: Path, *, careful: bool) -> str:
    """A command that appends one durable line for each run. ``careful``: an attempt it has seen has no effect."""
    text = _COMMAND.format(python=sys.executable, recording=str(recording), journal=str(journal), careful=careful)
    path.write_text(text)
    path.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    return str(path)


def recorded(recording: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in recording.read_text().splitlines()] if recording.exists() else []


class Receiver(Served):
    """``careful``: it remembers ``Idempotency-Key`` and answers a repeat without doing anything again."""

    def __init__(self, recording: Path, journaled: Callable[[str], bool], *, careful: bool) -> None:
        super().__init__()
        self._recording = recording
        self._journaled = journaled
        self._careful = careful
        self.answers = asyncio.Event()  # cleared: what it gets is recorded, and answered only when it is set again
        self.answers.set()

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/restart", self._restart)]

    async def __aexit__(self, *_: object) -> None:
        self.answers.set()
        await super().__aexit__()

    async def _restart(self, request: web.Request) -> web.Response:
        attempt = request.headers["Idempotency-Key"]
        seen = any(line["attempt"] == attempt for line in recorded(self._recording))
        line = {
            "attempt": attempt,
            "epoch": int(request.headers["X-Consulguard-Epoch"]),
            "journaled": self._journaled(attempt),
            "effect": not (self._careful and seen),
        }
        with self._recording.open("a") as out:
            out.write(json.dumps(line) + "\n")
            out.flush()
            os.fsync(out.fileno())
        await self.answers.wait()
        return web.Response(text="restarted")
