"""Probing suspects: only who leads, sees clearly and is not paused knocks at anybody's door."""

from __future__ import annotations

from datetime import datetime

from consulguard import correlate
from consulguard.engine.state import EngineState
from consulguard.events import AnyEffect, Knock


def knock(state: EngineState, at: datetime) -> list[AnyEffect]:
    """The probes that are due."""
    if not _may(state):
        return []
    return [Knock(service=target) for target in correlate.knock(state.book, at, state.policy.correlate)]


def next_wake(state: EngineState) -> datetime | None:
    """When the next probe is due."""
    return correlate.next_knock(state.book, state.policy.correlate) if _may(state) else None


def _may(state: EngineState) -> bool:
    return state.lease_held and state.view.trusted and not state.pauses
