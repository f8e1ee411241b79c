"""Reading a journal from outside, with nothing but SQLite and JSON: shares no code with the bot."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOLD = "SELECT key, message FROM outbox"


@dataclass(frozen=True)
class Line:
    """One entry. ``at`` in seconds of the Unix epoch."""

    seq: int
    at: float
    epoch: int
    kind: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """A journal at one moment."""

    lines: tuple[Line, ...]
    messages: dict[str, dict[str, Any]]  # by key, the newest version

    @property
    def intents(self) -> list[dict[str, Any]]:
        """Every intent in the order written; a re-driven one is there once for each time."""
        return [line.body["intent"] for line in self.lines if line.kind == "intent"]

    @property
    def attempts(self) -> list[str]:
        """The distinct attempt ids, in order."""
        return list(dict.fromkeys(intent["id"] for intent in self.intents))

    def events(self, name: str) -> list[Line]:
        return [line for line in self.lines if line.kind == "event" and line.body["event"] == name]

    @property
    def open_attempts(self) -> dict[str, str]:
        """Attempt id -> action, of those whose last intent has no result yet."""
        found: dict[str, str] = {}
        for line in self.lines:
            if line.kind == "intent":
                found[line.body["intent"]["id"]] = line.body["intent"]["action"]
            elif line.kind == "event" and line.body["event"] == "Resulted":
                found.pop(line.body["result"]["intent_id"], None)
        return found

    @property
    def lives(self) -> list[float]:
        """When each life began."""
        return [line.at for line in self.events("Started")]

    def fact(self, root: str, label: str) -> str:
        """What the message about the incident with this root says under a label; empty when it says nothing."""
        for message in self.messages.values():
            if message.get("incident", {}).get("root", {}).get("name") == root:
                return str(dict(message.get("facts", ())).get(label, ""))
        return ""


def read(path: Path) -> Record:
    """The journal as it is committed now; empty while there is none."""
    rows, messages = _asked(path, "SELECT seq, at, epoch, kind, body FROM entries ORDER BY seq", TOLD)
    lines = tuple(Line(seq, at / 1e6, epoch, kind, json.loads(body)) for seq, at, epoch, kind, body in rows)
    return Record(lines, {key: json.loads(message) for key, message in messages})


def told(path: Path) -> Record:
    """What people are told now, and no entries: for who looks again and again."""
    [messages] = _asked(path, TOLD)
    return Record((), {key: json.loads(message) for key, message in messages})


def _asked(path: Path, *texts: str) -> list[list[tuple[Any, ...]]]:
    """All at one moment."""
    if not path.exists():
        return [[] for _ in texts]
    con = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        con.execute("BEGIN")
        return [con.execute(text).fetchall() for text in texts]
    except sqlite3.OperationalError:  # it is being made
        return [[] for _ in texts]
    finally:
        con.close()
