"""The hash chain: pure functions. Whoever changes, removes or inserts an entry breaks every hash after it.

hash = SHA-256(previous hash | seq, at, epoch, version as big-endian int64 | length and bytes of kind | body),
with ``at`` in microseconds since 1970 UTC. All fields before the body have a fixed or a stated length, so two
different entries never give the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from consulguard.errors import StoreCorrupt
from consulguard.journal.store import Draft
from consulguard.model import Entry

GENESIS = "0" * 64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HEAD = struct.Struct(">qqqqH")


def to_us(at: datetime) -> int:
    """Microseconds since 1970 UTC. Raises ``ValueError`` for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a journal entry needs an aware time")
    return (at - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def entry_hash(previous: str, seq: int, draft: Draft) -> str:
    """The hash of ``draft`` at place ``seq`` after ``previous`` (both hex). Raises ``ValueError``."""
    return fields_hash(previous, (seq, to_us(draft.at), draft.epoch, draft.version), draft.kind, draft.body)


def fields_hash(previous: str, numbers: tuple[int, int, int, int], kind: str, body: bytes) -> str:
    """The same of an entry's fields as they are stored; ``numbers``: seq, at, epoch, version."""
    name = kind.encode()
    try:
        head = _HEAD.pack(*numbers, len(name))
    except struct.error as error:
        raise ValueError(f"a number of entry {numbers[0]} does not fit into 64 bits") from error
    return hashlib.sha256(b"".join((bytes.fromhex(previous), head, name, body))).hexdigest()


def link(seq: int, previous: str, drafts: Sequence[Draft]) -> list[Entry]:
    """Give the drafts their places after entry ``seq`` with hash ``previous``."""
    entries = []
    for draft in drafts:
        seq += 1
        digest = entry_hash(previous, seq, draft)
        entries.append(
            Entry(
                seq=seq,
                at=draft.at,
                epoch=draft.epoch,
                kind=draft.kind,
                version=draft.version,
                body=draft.body,
                previous=previous,
                hash=digest,
            )
        )
        previous = digest
    return entries


def snapshot_digest(seq: int, entry_hash: str, body: bytes) -> str:
    """Binds a snapshot's body to the entry it was made at."""
    return hashlib.sha256(b"%d %s " % (seq, entry_hash.encode()) + body).hexdigest()


class BrokenChain(StoreCorrupt):
    """The chain does not hold at ``seq``."""

    def __init__(self, seq: int, reason: str) -> None:
        self.seq = seq
        super().__init__(reason)
