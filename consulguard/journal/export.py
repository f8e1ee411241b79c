"""The journal, sent elsewhere: every entry at least once, in order, from where the last export ended."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from consulguard.errors import ConfigError, ExportUnavailable
from consulguard.journal.documents import Document, document
from consulguard.journal.store import Store
from consulguard.model import Entry

BATCH_BYTES = 4 << 20
TRIES = 6
log = structlog.get_logger("consulguard.export")


class Sink(Protocol):
    """Where documents go. One that is there already under its id is fine."""

    async def put(self, documents: Sequence[Document]) -> None:
        """Returns when all are durably there. Raises ExportUnavailable, ExportRefused."""


class Cursor:
    """A file that says which entry was the last one that certainly arrived; written after it did."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[int, str]:
        """Its number and hash; (0, "") before the first export. Raises ConfigError."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return int(found["seq"]), str(found["hash"])
        except FileNotFoundError:
            return 0, ""
        except OSError as error:
            raise ConfigError(f"the cursor cannot be read: {error.strerror}", where=str(self._path)) from None
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                "this is no cursor of ours; name another file, or remove it to export all again",
                where=str(self._path),
            ) from None

    def save(self, seq: int, digest: str) -> None:
        """Durably, and never half. Raises ConfigError."""
        aside = self._path.with_name(f".{self._path.name}.new")
        try:
            with aside.open("w", encoding="utf-8") as file:
                file.write(json.dumps({"seq": seq, "hash": digest}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ConfigError(f"the cursor cannot be written: {error.strerror}", where=str(self._path)) from None


async def export(store: Store, sink: Sink, cursor: Cursor, *, batch: int = 500, pause_s: float = 1.0) -> int:
    """Send what is new; how many entries. ``pause_s``: before the second try of a batch, then doubled.

    Raises ExportUnavailable after the last try, ExportRefused, ConfigError for a cursor of another journal.
    """
    seq, digest = cursor.load()
    last, _ = await store.last()
    if last < seq:
        raise ConfigError(f"the cursor is at entry {seq}, but the journal ends at {last}: another journal?")
    sent = 0
    async for entries in _batches(store, seq, batch):
        _follows(entries[0], seq, digest)
        await _put(sink, [document(entry) for entry in entries], pause_s)
        seq, digest = entries[-1].seq, entries[-1].hash
        await asyncio.to_thread(cursor.save, seq, digest)
        sent += len(entries)
    return sent


async def _batches(store: Store, after: int, most: int) -> AsyncIterator[list[Entry]]:
    """At most so many entries and, but for a single one, so many bytes at once."""
    held: list[Entry] = []
    size = 0
    async for entry in store.entries(after=after):
        if held and (len(held) >= most or size + len(entry.body) > BATCH_BYTES):
            yield held
            held, size = [], 0
        held.append(entry)
        size += len(entry.body)
    if held:
        yield held


def _follows(entry: Entry, seq: int, digest: str) -> None:
    """Raise unless the entry can stand behind the one the cursor names; log what was compacted away in between."""
    if not seq:
        return
    if entry.seq == seq + 1 and entry.previous != digest:
        raise ConfigError(
            f"entry {seq} is another one than the cursor's: another journal? remove it to begin anew"
        )
    if entry.seq > seq + 1:
        log.warning("export.entries_missed", first=seq + 1, last=entry.seq - 1, reason="compacted before")


async def _put(sink: Sink, documents: Sequence[Document], pause_s: float) -> None:
    for tried in range(1, TRIES + 1):
        try:
            return await sink.put(documents)
        except ExportUnavailable as error:
            if tried == TRIES:
                raise
            log.warning("export.failed", reason=str(error), tried=tried)
            await asyncio.sleep(pause_s * 2 ** (tried - 1))
    return None
