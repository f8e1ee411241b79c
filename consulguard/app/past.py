"""The state a journal holds: its newest snapshot and everything after it, stepped again."""

from __future__ import annotations

import msgspec

from consulguard.app.codec import event_of
from consulguard.engine import EngineState, step
from consulguard.engine.step import restore
from consulguard.journal import Store


async def fold(store: Store) -> tuple[EngineState, int]:
    """State and the sequence number of the last entry folded in. Effects are dropped: they are past.

    Raises StoreUnavailable, StoreCorrupt.
    """
    state, seq = EngineState(), 0
    snapshot = await store.load_snapshot()
    if snapshot is not None:
        try:
            state, seq = restore(snapshot[1]), snapshot[0]
        except msgspec.DecodeError:
            state, seq = EngineState(), 0  # written by another version: replay from the beginning
    async for entry in store.entries(after=seq):
        if entry.kind == "event":
            state, _ = step(state, event_of(entry.body))
        seq = entry.seq
    return state, seq
