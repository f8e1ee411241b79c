"""What an event sequence makes the engine decide, in a form that can be kept and compared.

Wording is left out on purpose: a sentence may be improved, a decision may not change unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from consulguard.engine import EngineState, step
from consulguard.events import AnyEffect, AnyEvent, Do, Look, Probe, Tell


def of_effect(effect: AnyEffect) -> dict[str, Any] | None:
    """One line for an effect that matters to the world or to people."""
    match effect:
        case Do(intent=intent):
            return {"do": msgspec.to_builtins(intent)}
        case Probe(intent=intent):
            return {"probe": intent.id}
        case Look(key=key, target=target):
            return {"look": key, "target": target.key}
        case Tell(message=m):
            return {"tell": m.key, "version": m.version, "severity": m.severity, "lines": len(m.thread)}
    return None


def of_state(state: EngineState) -> dict[str, Any]:
    incidents = {
        i.id: {"state": i.state.value, "root": msgspec.to_builtins(i.root), "confidence": i.confidence}
        for i in state.book.incidents.values()
    }
    runs = {run.id: run.state.value for run in state.runs.values()}
    return {"incidents": incidents, "runs": runs, "storm": state.storm.on}


def replay(events: Iterable[AnyEvent]) -> tuple[EngineState, list[dict[str, Any]]]:
    """The state in the end, and every decision on the way with the number of its event."""
    state, told = EngineState(), []
    for number, event in enumerate(events):
        state, effects = step(state, event)
        told += [{"event": number, **line} for e in effects if (line := of_effect(e)) is not None]
    return state, [*told, of_state(state)]
