"""Entries and snapshots as rows. Plain functions on a connection, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from consulguard.errors import ConfigError, StoreCorrupt
from consulguard.journal import chain
from consulguard.journal.store import BODY_VERSION, Mark
from consulguard.journal.tables import Tables, read_base
from consulguard.model import Entry

SNAPSHOTS_KEPT = 2  # the newest may be damaged: the one before it makes the replay longer, not impossible


def insert(con: Tables, entries: Sequence[Entry]) -> None:
    con.executemany(
        "INSERT INTO entries (seq, at, epoch, kind, version, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(e.seq, chain.to_us(e.at), e.epoch, e.kind, e.version, e.body, e.hash) for e in entries],
    )


def last(con: Tables) -> tuple[int, str]:
    """Sequence number and hash of the newest entry, or the base's."""
    row = con.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    return read_base(con) if row is None else (row[0], row[1])


def newest_epoch(con: Tables) -> int:
    """The newest entry's epoch, which is the highest: none is written with a lower one. 0: there is no entry."""
    row = con.execute("SELECT epoch FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    return 0 if row is None else int(row[0])


def refuse_newer(con: Tables, name: str) -> None:
    """Raises ConfigError where a newer consulguard has written: its entries would be gone on from without them."""
    row = con.execute("SELECT version FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    if row is not None and row[0] > BODY_VERSION:
        raise ConfigError(
            f"this journal was written by a newer consulguard (entries of version {row[0]}, this one writes"
            f" {BODY_VERSION}): upgrade; it can be read as it is",
            where=name,
        )


def count(con: Tables) -> int:
    return int(con.execute("SELECT count(*) FROM entries").fetchone()[0])


def hash_at(con: Tables, seq: int) -> str | None:
    """The hash of entry ``seq``; None when it is not kept (and is not the base)."""
    base, digest = read_base(con)
    if seq == base:
        return digest
    row = con.execute("SELECT hash FROM entries WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else row[0]


def read(con: Tables, after: int, limit: int) -> list[Entry]:
    """The next entries after ``after`` (or after the base, when that is later), with the chain checked.

    Raises ``BrokenChain`` at the first entry that does not fit.
    """
    after = max(after, read_base(con)[0])
    rows = con.execute(
        "SELECT seq, at, epoch, kind, version, body, hash FROM entries WHERE seq > ? ORDER BY seq LIMIT ?",
        (after, limit),
    ).fetchall()
    if not rows:
        return []
    previous = hash_at(con, after)
    if previous is None:
        raise chain.BrokenChain(after, f"entry {after} is missing")
    entries = []
    for row in rows:
        entry = proved(row, after + 1, previous)
        entries.append(entry)
        after, previous = entry.seq, entry.hash
    return entries


def proved(row: tuple[object, ...], seq: int, previous: str) -> Entry:
    """A row as the entry it must be at place ``seq`` after ``previous``. Raises ``BrokenChain``.

    Damage may show as another type of a column, so every field is looked at before it is believed.
    """
    found, at, epoch, kind, version, body, digest = row
    if found != seq:
        raise chain.BrokenChain(seq, f"entry {seq} is missing")
    try:
        if not (isinstance(at, int) and isinstance(epoch, int) and isinstance(version, int)):
            raise TypeError
        if not (isinstance(kind, str) and isinstance(body, bytes) and isinstance(digest, str)):
            raise TypeError
        if chain.fields_hash(previous, (seq, at, epoch, version), kind, body) != digest:
            raise ValueError
        moment = chain.from_us(at)
    except (OverflowError, TypeError, ValueError) as error:
        raise chain.BrokenChain(seq, f"entry {seq} was changed") from error
    return Entry(
        seq=seq,
        at=moment,
        epoch=epoch,
        kind=kind,
        version=version,
        body=body,
        previous=previous,
        hash=digest,
    )


def save_snapshot(con: Tables, seq: int, body: bytes) -> None:
    """Raises ``ValueError`` when entry ``seq`` is not in the journal."""
    digest = hash_at(con, seq)
    if digest is None:
        raise ValueError(f"a snapshot needs the entry it was made at; {seq} is not in the journal")
    con.execute(
        "INSERT INTO snapshots (seq, hash, digest, body) VALUES (?, ?, ?, ?) ON CONFLICT (seq) DO UPDATE"
        " SET hash = excluded.hash, digest = excluded.digest, body = excluded.body",
        (seq, digest, chain.snapshot_digest(seq, digest, body), body),
    )
    con.execute(
        "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)",
        (SNAPSHOTS_KEPT,),
    )


def sound_snapshots(con: Tables) -> list[tuple[int, bytes]]:
    """Snapshots that fit the journal, newest first."""
    sound = []
    rows = con.execute("SELECT seq, hash, digest, body FROM snapshots ORDER BY seq DESC").fetchall()
    for seq, digest, stamp, body in rows:
        if not isinstance(body, bytes) or not isinstance(digest, str):
            continue
        if hash_at(con, seq) == digest and chain.snapshot_digest(seq, digest, body) == stamp:
            sound.append((seq, body))
    return sound


def unsound(con: Tables) -> str:
    """Empty when every snapshot fits the journal, else a sentence."""
    sound = {seq for seq, _ in sound_snapshots(con)}
    seqs = [seq for (seq,) in con.execute("SELECT seq FROM snapshots ORDER BY seq")]
    return next((f"the snapshot at entry {seq} does not fit the journal" for seq in seqs if seq not in sound), "")


def newest_snapshot(con: Tables) -> tuple[int, bytes] | None:
    """Raises ``StoreCorrupt`` when none is sound although the journal no longer reaches back to its beginning."""
    sound = sound_snapshots(con)
    if not sound and read_base(con)[0] > 0:
        raise StoreCorrupt("the journal was compacted and none of its snapshots is sound: it cannot be replayed")
    return sound[0] if sound else None


def compactable(con: Tables, keep_after_seq: int) -> int:
    """Up to which entry all may go: the older of two sound snapshots stays replayable."""
    sound = sound_snapshots(con)
    return min(keep_after_seq, sound[-1][0]) if len(sound) >= SNAPSHOTS_KEPT else 0


def forget(con: Tables, upto: int, limit: int) -> int:
    """Remove at most ``limit`` of the oldest entries, none after ``upto``, and move the base with them."""
    base, _ = read_base(con)
    end = min(upto, base + limit)
    digest = hash_at(con, end)
    if end <= base or digest is None:
        return 0
    con.execute("DELETE FROM entries WHERE seq <= ?", (end,))
    con.execute(
        "INSERT INTO base (id, seq, hash) VALUES (1, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        (end, digest),
    )
    return end - base


def behind(con: Tables, mark: Mark | None) -> str:
    """Why this journal is not the one the mark was made from; empty when it is."""
    seq, _ = last(con)
    if mark is None:
        return f"the mark beside the journal is missing, and the journal has {seq} entries" if seq else ""
    if mark.seq > seq:
        return f"the journal ends at entry {seq}, but entry {mark.seq} was acknowledged: the rest is lost"
    if mark.seq >= read_base(con)[0] and hash_at(con, mark.seq) != mark.hash:
        return f"entry {mark.seq} is not the one that was acknowledged: the journal was replaced or restored"
    return ""
