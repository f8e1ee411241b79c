"""The outbox: what people are still to be told, one row per (channel, key), coalesced to the newest version.

A newer version replaces the message but never a thread line that was not told yet. Rows are counted and bounded,
so a dead channel costs a fixed amount of disk and never holds up anything else. Plain functions on a connection,
inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from consulguard.journal.chain import from_us, to_us
from consulguard.journal.store import JournalSettings
from consulguard.journal.tables import Tables
from consulguard.model import JsonObject, Message, OutboxRow

PENDING, SENT, FAILED = "pending", "sent", "failed"
FOLDED = "folded"  # told with others in one message, and by itself again with its next news, unless it is over

_COLUMNS = "id, channel, key, rev, message, told, skipped, attempts, due, ref, version, digest, state"


class _Kept(msgspec.Struct, frozen=True):
    """A row as it lies in the table."""

    id: int
    channel: str
    key: str
    rev: int
    message: bytes
    told: int
    skipped: int
    attempts: int
    due: int
    ref: bytes
    version: int
    digest: str
    state: str


def put(con: Tables, channels: Sequence[str], messages: Sequence[Message], settings: JournalSettings) -> None:
    """Queue each message for each channel it is for. A version already seen is a repeat and changes nothing."""
    for message in messages:
        digest = hashlib.sha256(msgspec.json.encode(message)).hexdigest()
        for channel in (c for c in channels if not message.channels or c in message.channels):
            kept = _find(con, channel, message.key)
            if kept is None:
                _insert(con, channel, message, digest, settings)
            elif message.version > kept.version or (message.version == kept.version and digest != kept.digest):
                _coalesce(con, kept, message, digest, settings)
    for channel in channels if messages else ():
        _bound(con, channel, settings)


def due(con: Tables, channel: str, limit: int) -> list[OutboxRow]:
    """Pending rows, soonest first, then in the order they began to wait. One that cannot be read is given up."""
    return rows(con, "channel = ? AND state = ? ORDER BY due, queued", (channel, PENDING), limit)


def rows(con: Tables, which: str, values: tuple[str | int, ...], limit: int) -> list[OutboxRow]:
    """The rows a condition names, without those that cannot be read."""
    found = []
    for raw in con.execute(f"SELECT {_COLUMNS} FROM outbox WHERE {which} LIMIT ?", (*values, limit)).fetchall():
        try:
            kept = msgspec.convert(dict(zip(_Kept.__struct_fields__, raw, strict=True)), _Kept)
            found.append(_row(kept))
        except (msgspec.ValidationError, msgspec.DecodeError, OverflowError, UnicodeDecodeError):
            con.execute("UPDATE outbox SET state = ?, reason = 'unreadable' WHERE id = ?", (FAILED, raw[0]))
    return found


def sent(con: Tables, row: OutboxRow, ref: JsonObject, lines: int | None, done: bool) -> None:
    """``row`` was told with its first ``lines`` thread lines; what was added meanwhile stays pending."""
    kept = _find(con, row.channel, row.key)
    if kept is None:
        return
    message = _decode(kept.message) or row.message
    told = len(row.message.thread) if lines is None else lines
    over = row.told + told
    left = message.thread[max(0, over - kept.told) :]
    state = SENT if done and kept.rev == row.rev and not left else PENDING
    con.execute(
        "UPDATE outbox SET state = ?, message = ?, told = ?, skipped = ?, attempts = 0, due = 0, reason = '',"
        " ref = ? WHERE id = ?",
        (
            state,
            _encode(message, left),
            max(kept.told, over),
            max(0, kept.told - over) if told else kept.skipped,
            msgspec.json.encode(ref),
            kept.id,
        ),
    )


def failed(con: Tables, row: OutboxRow, reason: str, retry_at: datetime | None, ref: JsonObject | None) -> None:
    """``row`` was not told. A final failure does not bind a newer version that came meanwhile."""
    kept = _find(con, row.channel, row.key)
    if kept is None:
        return
    final = retry_at is None and kept.rev == row.rev
    con.execute(
        "UPDATE outbox SET state = ?, attempts = attempts + 1, due = ?, reason = ?, ref = ? WHERE id = ?",
        (
            FAILED if final else PENDING,
            to_us(retry_at) if retry_at else 0,
            reason[:500],
            kept.ref if ref is None else msgspec.json.encode(ref),
            kept.id,
        ),
    )


def counts(con: Tables) -> dict[str, int]:
    """Rows by ``channel/state``, and ``dropped``."""
    rows = con.execute("SELECT channel, state, count(*) FROM outbox GROUP BY channel, state").fetchall()
    dropped = con.execute("SELECT value FROM counters WHERE name = 'outbox_dropped'").fetchone()
    return {f"{channel}/{state}": n for channel, state, n in rows} | {"dropped": dropped[0] if dropped else 0}


def _find(con: Tables, channel: str, key: str) -> _Kept | None:
    raw = con.execute(f"SELECT {_COLUMNS} FROM outbox WHERE channel = ? AND key = ?", (channel, key)).fetchone()
    return None if raw is None else _Kept(*raw)


def _insert(con: Tables, channel: str, message: Message, digest: str, settings: JournalSettings) -> None:
    skipped, thread = _room((), message.thread, settings.thread_lines)
    con.execute(
        "INSERT INTO outbox (channel, key, version, digest, rev, state, message, told, skipped, resolved,"
        " attempts, due, queued, reason, ref) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, 0, ?, ?, '', ?)",
        (
            channel,
            message.key,
            message.version,
            digest,
            PENDING,
            _encode(message, thread),
            skipped,
            skipped,
            int(message.severity == "resolved"),
            _held(message, channel),
            _turn(con),
            b"{}",
        ),
    )


def _coalesce(con: Tables, kept: _Kept, message: Message, digest: str, settings: JournalSettings) -> None:
    """A waiting row keeps its turn, its hold and its back-off; one that was over waits from now.

    What is over before anybody was told of it is not told: it was held for so long.
    """
    earlier = _decode(kept.message)
    skipped, thread = _room(earlier.thread if earlier else (), message.thread, settings.thread_lines)
    waiting, over = kept.state == PENDING, message.severity == "resolved"
    if over and waiting and kept.due and not kept.attempts and kept.ref == b"{}":
        con.execute("DELETE FROM outbox WHERE id = ?", (kept.id,))
        return
    con.execute(
        "UPDATE outbox SET version = ?, digest = ?, rev = rev + 1, state = ?, message = ?, told = told + ?,"
        " skipped = skipped + ?, resolved = ?, due = ?, attempts = ? WHERE id = ?",
        (
            message.version,
            digest,
            FOLDED if kept.state == FOLDED and over else PENDING,
            _encode(message, thread),
            skipped,
            skipped,
            int(over),
            kept.due if waiting else _held(message, kept.channel),
            kept.attempts if waiting else 0,
            kept.id,
        ),
    )
    if not waiting:
        con.execute("UPDATE outbox SET queued = ? WHERE id = ?", (_turn(con), kept.id))


def _held(message: Message, channel: str) -> int:
    hold = message.holds.get(channel)
    return to_us(hold) if hold else 0


def _room(old: tuple[str, ...], new: tuple[str, ...], most: int) -> tuple[int, tuple[str, ...]]:
    """How many of the oldest lines have no room, and the others."""
    lines = old + new
    skipped = max(0, len(lines) - most)
    return skipped, lines[skipped:]


def _bound(con: Tables, channel: str, settings: JournalSettings) -> None:
    """Drop the oldest resolved rows first, then the oldest; waiting ones are counted as dropped."""
    dropped = _drop(con, channel, f"state = '{PENDING}'", settings.outbox_pending)
    _drop(con, channel, f"state != '{PENDING}'", settings.outbox_kept)
    if dropped:
        con.execute(
            "INSERT INTO counters (name, value) VALUES ('outbox_dropped', ?)"
            " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value",
            (dropped,),
        )


def _drop(con: Tables, channel: str, which: str, most: int) -> int:
    found = con.execute(f"SELECT count(*) FROM outbox WHERE channel = ? AND {which}", (channel,)).fetchone()[0]
    if found <= most:
        return 0
    con.execute(
        f"DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE channel = ? AND {which}"
        " ORDER BY resolved DESC, queued LIMIT ?)",
        (channel, found - most),
    )
    return int(found - most)


def _turn(con: Tables) -> int:
    """A number greater than every one given before among the kept rows."""
    return int(con.execute("SELECT coalesce(max(queued), 0) + 1 FROM outbox").fetchone()[0])


def _encode(message: Message, thread: tuple[str, ...]) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(message, thread=thread))


def _decode(raw: bytes) -> Message | None:
    """None: damaged. People miss a message then, but the journal goes on."""
    try:
        return msgspec.json.decode(raw, type=Message)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return None


def _row(kept: _Kept) -> OutboxRow:
    return OutboxRow(
        channel=kept.channel,
        key=kept.key,
        rev=kept.rev,
        message=msgspec.json.decode(kept.message, type=Message),
        told=kept.told,
        skipped=kept.skipped,
        attempts=kept.attempts,
        retry_at=from_us(kept.due) if kept.due else None,
        ref=msgspec.json.decode(kept.ref, type=dict),
    )
