"""Reminders of what nobody took, for those who have no routes."""

from __future__ import annotations

from datetime import datetime

import msgspec

from consulguard import correlate
from consulguard.engine.state import EngineState
from consulguard.engine.tell import if_new, of_incident
from consulguard.events import AnyEffect, Commanded, Tell
from consulguard.model import Incident, Message

_UNTAKEN = ("critical", "warning")  # severities: not acknowledged, not silenced, not over


def to_remind(state: EngineState, after_s: float, at: datetime) -> list[Message]:
    """The messages, as they are, of told incidents that nobody took and whose next reminder has come.

    The first comes after ``after_s``, the next after twice as long, and so on: a late look changes nothing. Where
    there are routes, each says for itself what is repeated.
    """
    due = after_s > 0 and state.policy.route is None
    incidents = correlate.open_incidents(state.book) if due else []
    late = [
        i for i in incidents if i.id in state.told and _reminders(i, after_s, at) > state.reminded.get(i.id, 0)
    ]
    drafts = [of_incident(state, incident, at) for incident in late]
    return [draft for draft in drafts if draft is not None and draft.severity in _UNTAKEN]


def remind(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """One more line in the threads of what nobody took for ``after_s`` seconds."""
    after_s = float(said.args["after_s"])
    state.reminded = {key: count for key, count in state.reminded.items() if key in state.book.incidents}
    effects: list[AnyEffect] = []
    for draft in to_remind(state, after_s, at):
        if (incident := draft.incident) is None:
            continue
        line = f"still open after {_age(incident, at)}, and nobody has taken it"
        message = if_new(state, msgspec.structs.replace(draft, thread=(*draft.thread, line)))
        state.told[draft.key] = msgspec.structs.replace(state.told[draft.key], lines=len(draft.thread))
        state.reminded[draft.key] = _reminders(incident, after_s, at)
        effects += [Tell(message=message)] if message is not None else []
    return effects


def _reminders(incident: Incident, after_s: float, at: datetime) -> int:
    """How many an incident of that age has had: 1 from ``after_s`` on, 2 from twice that on, 3 from four times."""
    return int((at - incident.opened_at).total_seconds() / after_s).bit_length()


def _age(incident: Incident, at: datetime) -> str:
    minutes = int((at - incident.opened_at).total_seconds() // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = [(days, "d"), (hours, "h"), (0 if days else minutes % 60, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a minute"
