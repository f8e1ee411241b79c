"""One look at the mesh, or at a saved one, through the engine: what the reading verbs share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from consulguard import config
from consulguard.app import assess, configured, fold
from consulguard.app.codec import VERSION, encode, event_of
from consulguard.cli.options import Options
from consulguard.clock import SystemClock
from consulguard.config import settings
from consulguard.config.files import read_text
from consulguard.engine import EngineState
from consulguard.errors import ConfigError, ConsulUnavailable, StoreCorrupt, StoreUnavailable
from consulguard.events import AnyEvent
from consulguard.journal import SqliteStore
from consulguard.watch import read_once

SNAPSHOT_BYTES = 256 * 1024 * 1024


def look(
    options: Options, loaded: config.Loaded, snapshot: Path | None = None
) -> tuple[EngineState, list[AnyEvent]]:
    """The assessed state and the events it came from.

    Raises ConfigError, ConsulUnavailable, ConsulRefused, BadAnswer.
    """
    return asyncio.run(_look(options, loaded, snapshot))


async def _look(
    options: Options, loaded: config.Loaded, snapshot: Path | None
) -> tuple[EngineState, list[AnyEvent]]:
    if snapshot is not None:
        events = load_snapshot(snapshot)
        given, _ = configured(loaded, events[0].at)
        return assess(given, events), events
    clock = SystemClock()
    client = settings.client(loaded)
    try:
        async with asyncio.timeout(options.timeout_s):
            events = await read_once(client, clock, settings.watch_settings(loaded))
    except TimeoutError:
        raise ConsulUnavailable(
            f"Consul was not read within {options.timeout_s:g} s; give more with --timeout"
        ) from None
    finally:
        await client.close()
    given, _ = configured(loaded, events[0].at)
    return assess(given, events, await past(loaded)), events


async def past(loaded: config.Loaded) -> EngineState | None:
    """What the journal holds; None where there is none, or it cannot be read now."""
    path = settings.journal_path(loaded)
    if not path.exists():
        return None
    store = SqliteStore(path, readonly=True)
    try:
        await store.open()
        state, _ = await fold(store)
    except (StoreUnavailable, StoreCorrupt):
        return None
    finally:
        await store.close()
    return state


def save_snapshot(path: Path, events: list[AnyEvent]) -> None:
    """One event a line, as JSON, after a line that says what it is."""
    lines = [encode({"consulguard": "snapshot", "version": VERSION}), *(encode(e) for e in events)]
    try:
        path.write_bytes(b"\n".join(lines) + b"\n")
    except OSError as error:
        raise ConfigError(f"the snapshot cannot be written: {error.strerror}", where=str(path)) from None


def load_snapshot(path: Path) -> list[AnyEvent]:
    """Raises ConfigError when it is not a snapshot of ours."""
    lines = read_text(path, "the snapshot", max_bytes=SNAPSHOT_BYTES).splitlines()
    try:
        head = msgspec.json.decode(lines[0].encode(), type=dict[str, str | int])
    except (IndexError, msgspec.DecodeError):
        head = {}
    if head.get("consulguard") != "snapshot" or len(lines) < 2:
        raise ConfigError("this is not a snapshot written by plan --save-snapshot", where=str(path))
    if head.get("version") != VERSION:
        raise ConfigError(f"the snapshot is of version {head.get('version')}, this is {VERSION}", where=str(path))
    try:
        return [event_of(line.encode()) for line in lines[1:] if line]
    except StoreCorrupt as error:
        raise ConfigError(f"the snapshot is damaged: {error}", where=str(path)) from None
