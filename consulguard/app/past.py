"""The state a journal holds: its newest snapshot and everything after it, stepped again.

Decisions are not read from the journal but made anew, and another version may make others. What was really sent is
therefore held against the journal's own intents: a run that was never let go is taken back, and an intent that
this version would not have made, and whose outcome nobody wrote down, is a doubt for a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from consulguard.app.codec import VERSION, effect_of, event_of
from consulguard.engine import EngineState, step
from consulguard.engine.step import restore
from consulguard.errors import ConfigError
from consulguard.events import AnyEffect, AnyEvent, Commanded, Do, Resulted
from consulguard.journal import Store
from consulguard.model import Run, RunState

Step = Callable[[EngineState, AnyEvent], tuple[EngineState, tuple[AnyEffect, ...]]]
NEWER = "entry {} of the journal was written by a newer consulguard: what it means is not known here; upgrade"
JOURNAL = "journal"  # who speaks where the journal itself gives reason to stop


@dataclass(slots=True, kw_only=True)
class Past:
    state: EngineState = field(default_factory=EngineState)
    seq: int = 0  # of the last entry folded in
    doubt: str = ""  # why nothing may be done before a person has looked; empty when there is no reason


async def fold(store: Store, step: Step = step) -> Past:
    """What the journal holds. Effects are dropped: they are past. Raises StoreUnavailable, StoreCorrupt."""
    reading = Fold(step)
    await reading.advance(store)
    return reading.end()


class Fold:
    """A journal as far as it was read. Who follows another's journal reads on now and then."""

    def __init__(self, step: Step = step) -> None:
        self.hash = ""  # of the last entry folded in
        self._past: Past | None = None
        self._sent = _Sent()
        self._step = step

    @property
    def seq(self) -> int:
        """Of the last entry folded in."""
        return self._past.seq if self._past is not None else 0

    async def advance(self, store: Store) -> None:
        """Read on to the end. Raises StoreUnavailable, StoreCorrupt, ConfigError where it is of a newer version.

        Where what comes next has been compacted away it begins anew, at the newest snapshot.
        """
        warm = self._past is not None
        past = self._past = self._past or await _from_snapshot(store)
        async for entry in store.entries(after=past.seq):
            if warm and entry.seq != past.seq + 1:
                self._past, self._sent = None, _Sent()
                await self.advance(store)
                return
            if entry.version > VERSION:
                raise ConfigError(NEWER.format(entry.seq))
            if entry.kind == "event":
                event = event_of(entry.body)
                past.state, effects = self._step(past.state, event)
                self._sent.replayed(event, effects)
            elif entry.kind == "intent":
                self._sent.journaled(effect_of(entry.body))
            past.seq, self.hash = entry.seq, entry.hash

    def end(self) -> Past:
        """The state to go on from. Nothing can be read after it."""
        past, self._past = self._past or Past(), None
        for run in past.state.active_runs():
            if run.sent and run.intent is not None and run.intent.id in self._sent.imagined:
                _take_back(past.state, run)
        known = {run.intent.id for run in past.state.runs.values() if run.effects and run.intent is not None}
        past.doubt = self._sent.doubt(known)
        return past


async def _from_snapshot(store: Store) -> Past:
    snapshot = await store.load_snapshot()
    if snapshot is not None:
        try:
            return Past(state=restore(snapshot[1]), seq=snapshot[0])
        except msgspec.DecodeError:
            pass  # written by another version: replay from the beginning
    return Past()


@dataclass(slots=True)
class _Sent:
    """Intents as the journal has them, beside those the replay made."""

    made: set[str] = field(default_factory=set)
    written: dict[str, str] = field(default_factory=dict)  # attempt id -> what it was about
    open: set[str] = field(default_factory=set)  # written, no result since

    @property
    def imagined(self) -> set[str]:
        """Made by the replay and never written down: nobody let them go."""
        return self.made - self.written.keys()

    def replayed(self, event: AnyEvent, effects: tuple[AnyEffect, ...]) -> None:
        self.made |= {e.intent.id for e in effects if isinstance(e, Do)}
        if isinstance(event, Resulted):
            self.open.discard(event.result.intent_id)
        elif isinstance(event, Commanded) and event.who == JOURNAL:
            self.open.clear()  # a person has been told

    def journaled(self, effect: AnyEffect) -> None:
        if isinstance(effect, Do):
            self.written[effect.intent.id] = f"{effect.intent.action} on {effect.intent.target.name}"
            self.open.add(effect.intent.id)

    def doubt(self, known: set[str]) -> str:
        """``known``: attempts the state's runs are at; they are taken up as any other."""
        lost = sorted(self.open - self.made - known)
        if not lost:
            return ""
        told = ", ".join(f"{self.written[i]} ({i})" for i in lost)
        return f"sent by another version, and nobody knows whether it happened: {told}; look, then resume"


def _take_back(state: EngineState, run: Run) -> None:
    """The run as it was before it was let go: the guards and the confirm-read decide again."""
    if run.effects <= 1:
        del state.runs[run.id]
        state.attempts[:] = [a for a in state.attempts if a.run != run.id]
        return
    now = RunState.UNDOING if run.intent is not None and run.intent.undo else RunState.PLANNED
    state.runs[run.id] = msgspec.structs.replace(run, state=now, sent=False, reason="", effects=run.effects - 1)
