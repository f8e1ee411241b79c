"""What ``plan --save-snapshot`` keeps and ``--snapshot`` reads: a head, then one event a line, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from consulguard.app.codec import VERSION, encode, event_of
from consulguard.config.files import read_text
from consulguard.engine import EngineState
from consulguard.errors import ConfigError, StoreCorrupt
from consulguard.events import AnyEvent
from consulguard.guard.situation import Storm
from consulguard.model import Attempt, Pause, Silence

MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was read from Consul, and of the daemon's past what guards need."""

    events: list[AnyEvent]
    past: EngineState


class Head(msgspec.Struct, kw_only=True):
    """The first line. ``events``: how many follow, so that a cut is noticed."""

    consulguard: str
    version: int
    events: int = 0
    pauses: list[Pause] = []
    silences: dict[str, Silence] = {}
    attempts: list[Attempt] = []
    storm: Storm = Storm()


def save(path: Path, seen: Seen) -> None:
    """Raises ConfigError when it cannot be written."""
    head = Head(
        consulguard="snapshot",
        version=VERSION,
        events=len(seen.events),
        pauses=seen.past.pauses,
        silences=seen.past.silences,
        attempts=seen.past.attempts,
        storm=seen.past.storm,
    )
    try:
        path.write_bytes(b"".join(encode(line) + b"\n" for line in (head, *seen.events)))
    except OSError as error:
        raise ConfigError(f"the snapshot cannot be written: {error.strerror}", where=str(path)) from None


def load(path: Path) -> Seen:
    """Raises ConfigError when it is not a whole snapshot of ours."""
    lines = _lines(path, "the snapshot")
    head = _head(lines[0], path)
    if head is None:
        raise ConfigError("this is not a snapshot written by plan --save-snapshot", where=str(path))
    events = _events(lines[1:], path, first=2)
    if not events or len(events) != head.events:
        raise ConfigError(f"the snapshot is cut: {len(events)} of {head.events} events are left", where=str(path))
    past = EngineState(pauses=head.pauses, silences=head.silences, attempts=head.attempts, storm=head.storm)
    return Seen(events=events, past=past)


def load_recording(path: Path) -> list[AnyEvent]:
    """The events of a story: a snapshot, or events without a head. Raises ConfigError."""
    lines = _lines(path, "the recording")
    skip = 1 if _head(lines[0], path) is not None else 0
    events = _events(lines[skip:], path, first=skip + 1)
    if not events:
        raise ConfigError("the recording holds no event", where=str(path))
    return events


def _lines(path: Path, what: str) -> list[str]:
    # Not splitlines(): texts from Consul may hold other separators, which JSON leaves as they are.
    return read_text(path, what, max_bytes=MAX_BYTES, anybodys=True).split("\n")


def _head(line: str, path: Path) -> Head | None:
    try:
        told = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        version = msgspec.json.decode(told.get("version", b"0"), type=int)
        if told.get("consulguard") != msgspec.Raw(b'"snapshot"'):
            return None
        if version != VERSION:
            raise ConfigError(f"the snapshot is of version {version}, this is {VERSION}", where=str(path))
        return msgspec.json.decode(line, type=Head)
    except (msgspec.DecodeError, RecursionError):
        return None


def _events(lines: list[str], path: Path, *, first: int) -> list[AnyEvent]:
    events = []
    for number, line in enumerate(lines, start=first):
        try:
            if line:
                events.append(event_of(line.encode()))
        except (StoreCorrupt, RecursionError) as error:
            reason = str(error.__cause__ or error)
            raise ConfigError(f"this event cannot be read: {reason}", where=f"{path}:{number}") from None
    return events
