"""The standing recovery loop: at every turn, each run whose answer should have come long ago is taken up.

A task may be lost, hang, or swallow its own cancellation: the journal knows what was sent, and so the engine does.
Nothing is sent from here. What was sent without an outcome becomes UNKNOWN, by the same way as after a restart.
"""

from __future__ import annotations

from datetime import datetime

from consulguard.engine import running
from consulguard.engine.state import EngineState
from consulguard.events import AnyEffect
from consulguard.plan import run as runs


def sweep(state: EngineState, at: datetime) -> list[AnyEffect]:
    """Take up what is overdue. Only the leader waits for answers."""
    effects: list[AnyEffect] = []
    for run in state.active_runs() if state.lease_held else ():
        by = runs.answer_by(run)
        if by is not None and by <= at:
            info = state.actions.get(run.intent.action) if run.intent is not None else None
            effects += running.keep(state, *runs.lost(run, info, at), at)
    return effects


def next_wake(state: EngineState) -> datetime | None:
    """When the next answer is overdue."""
    if not state.lease_held:
        return None
    return min((by for run in state.active_runs() if (by := runs.answer_by(run)) is not None), default=None)
