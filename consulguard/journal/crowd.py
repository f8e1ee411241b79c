"""Many rows of one channel at once: what still fails, and what waits where too much waits to be told singly.

Plain functions on a connection, inside the caller's transaction, as in ``journal.outbox``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from consulguard.journal import outbox
from consulguard.journal.chain import to_us
from consulguard.journal.store import JournalSettings
from consulguard.journal.tables import Tables
from consulguard.model import Message, OutboxRow, StillOpen

# What is joined to nothing keeps the planner from going by that column's index: by the state, or in the
# order of the ids, there is less to look at.
_INCIDENTS = "key LIKE 'inc-%'"
_UNTOLD = f"state = '{outbox.PENDING}' AND length(ref) = 2"  # nothing was ever posted: {}
_NEW = f"channel = ? AND {_INCIDENTS} AND {_UNTOLD} AND (attempts > 0 OR due <= ?)"  # the others are held
_OPEN = f"channel || '' = ? AND {_INCIDENTS} AND resolved = 0 AND NOT ({_UNTOLD} AND attempts = 0 AND due > 0)"


def still_open(con: Tables, channel: str, board: str, most: int) -> StillOpen:
    """Incidents whose newest message is not their resolution, the longest told ones first, and the board's row."""
    (total,) = con.execute(f"SELECT count(*) FROM outbox WHERE {_OPEN}", (channel,)).fetchone()
    return StillOpen(
        total=total,
        rows=tuple(outbox.rows(con, f"{_OPEN} ORDER BY id", (channel,), most)),
        board=next(iter(outbox.rows(con, "channel = ? AND key = ?", (channel, board), 1)), None),
    )


def crowd(con: Tables, channel: str, keep: int, now: datetime) -> list[OutboxRow]:
    """Incidents that nobody was told of, where more than ``keep`` wait; questions to people are not among them."""
    (waiting,) = con.execute(f"SELECT count(*) FROM outbox WHERE {_NEW}", (channel, to_us(now))).fetchone()
    if waiting <= keep:
        return []
    found = outbox.rows(con, f"{_NEW} ORDER BY queued", (channel, to_us(now)), waiting)
    silent = [row for row in found if not any(offer.verb == "approve" for offer in row.message.offers)]
    return silent if len(silent) > keep else []


def add(
    con: Tables,
    channel: str,
    message: Message,
    folded: Sequence[OutboxRow],
    not_before: datetime | None,
    settings: JournalSettings,
) -> None:
    """One more message for this channel alone. ``folded`` are told by it: as they are now, never by themselves."""
    con.executemany(
        f"UPDATE outbox SET state = '{outbox.FOLDED}' WHERE channel = ? AND key = ? AND rev = ? AND state = ?",
        [(channel, row.key, row.rev, outbox.PENDING) for row in folded],
    )
    outbox.put(con, (channel,), (message,), settings)
    if not_before is not None:
        con.execute(
            "UPDATE outbox SET due = ? WHERE channel = ? AND key = ? AND state = ? AND attempts = 0",
            (to_us(not_before), channel, message.key, outbox.PENDING),
        )
