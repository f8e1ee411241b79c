"""A person's word about one incident: acknowledge, assign, close, reopen. ``correlate/hands.py`` has the rules."""

from __future__ import annotations

from datetime import datetime

from consulguard import correlate
from consulguard.correlate import hands
from consulguard.engine.state import EngineState
from consulguard.events import AnyEffect, Commanded, Reply
from consulguard.model import Incident

TEXT_MAX = 500


def said(state: EngineState, event: Commanded, at: datetime) -> list[AnyEffect]:
    """``ack``, ``assign``, ``resolve`` or ``reopen`` of the incident in ``args``."""
    given = str(event.args.get("incident", ""))
    incident = correlate.find(state.book, given)
    if incident is None:
        text = f"there is no incident {given!r}; see: consulguard incident list"
        return [Reply(key=event.key, ok=False, text=text)]
    done = _do(state, incident, event, at)
    if done.incident is not None:
        state.touched.append(incident.id)
        state.dirty = True
    ok = done.incident is not None
    return [Reply(key=event.key, ok=ok, text=done.text, incident=incident.id)]


def _do(state: EngineState, incident: Incident, event: Commanded, at: datetime) -> hands.Done:
    why = str(event.args.get("reason", "")).strip()[:TEXT_MAX]
    match event.command:
        case "ack":
            return hands.ack(state.book, incident, event.who, at)
        case "assign":
            to = str(event.args.get("to", "")).strip()
            if not to or len(to) > TEXT_MAX:
                return hands.Done(None, f"to whom? A name of 1 to {TEXT_MAX} characters")
            return hands.assign(state.book, incident, to, at)
        case "resolve":
            return hands.resolve(state.book, incident, (event.who, why), state.troubles(), at)
        case _:
            return hands.reopen(state.book, incident, (event.who, why), state.policy.correlate, at)
