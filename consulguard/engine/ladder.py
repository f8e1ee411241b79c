"""Escalation: when what a playbook did, or waits to do, has not helped in its time, the next rung is tried.

The time runs from when the playbook was first chosen for the incident, and stands still for nothing. While the
incident is acknowledged or silenced no rung is taken; one that was due is taken afterwards. A rung that names a
playbook puts it in charge of the incident, under all guards, as soon as no run is at work on it; one that names
people tells them in a message of its own, and leaves the service to them for the escalation cooldown.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from consulguard import correlate
from consulguard.engine.state import EngineState, Ladder
from consulguard.events import AnyEffect, Tell
from consulguard.model import Considered, Escalation, Incident, IncidentState, Message, Playbook, RunState


def climb(state: EngineState, at: datetime) -> list[AnyEffect]:
    """Take the rungs whose time has come. An incident that recovers is left in peace."""
    effects: list[AnyEffect] = []
    for incident_id in sorted(state.ladders):
        incident = correlate.find(state.book, incident_id)
        if incident is None or incident.id != incident_id or incident.state is IncidentState.RESOLVED:
            del state.ladders[incident_id]
        elif incident.acked_by or incident.id in state.hushed:
            continue  # a person looks after it, or asked for quiet
        elif incident.state is IncidentState.OPEN and state.lease_held:
            for ladder in state.ladders[incident_id]:
                effects += _climb(state, incident, ladder, at)
    return effects


def begin(state: EngineState, incident: Incident, playbook: Playbook, at: datetime) -> None:
    """The playbook was chosen for the incident: its time runs from the first time on."""
    if playbook.escalate:
        ladders = state.ladders.setdefault(incident.id, [])
        if all(ladder.playbook.id != playbook.id for ladder in ladders):
            ladders.append(Ladder(playbook=playbook, since=at))


def in_charge(state: EngineState, incident: Incident) -> tuple[tuple[Playbook, ...], tuple[Considered, ...]]:
    """The playbooks that may be chosen for the incident, and what is to be said of those that may no longer."""
    if (order := state.orders.get(incident.id)) is not None:
        return tuple(p for p in state.playbooks if p.id == order.playbook), ()
    named = [(ladder, ladder.now) for ladder in state.ladders.get(incident.id, ()) if ladder.now]
    if not named:
        return state.playbooks, ()
    ladder, name = named[-1]
    found = tuple(p for p in state.playbooks if p.id == name)
    because = f"it has not helped in time: escalated to {name}"
    return found, (Considered(playbook=ladder.playbook.id, matched=False, because=because),)


def next_wake(state: EngineState) -> datetime | None:
    """When the next rung's time comes."""
    assert state.at is not None
    ends = (_due(ladder) for ladders in state.ladders.values() for ladder in ladders)
    return min((end for end in ends if end is not None and end > state.at), default=None)


def _due(ladder: Ladder) -> datetime | None:
    rungs = ladder.playbook.escalate
    return ladder.since + timedelta(seconds=rungs[ladder.rung].after_s) if ladder.rung < len(rungs) else None


def _climb(state: EngineState, incident: Incident, ladder: Ladder, at: datetime) -> list[AnyEffect]:
    due = _due(ladder)
    if due is None or at < due:
        return []
    rung = ladder.playbook.escalate[ladder.rung]
    busy = state.started(incident.id)
    if rung.playbook and busy is not None and busy.effects:
        return []
    ladder.rung += 1
    if rung.playbook and rung.playbook not in {p.id for p in state.playbooks}:
        return []  # it is disabled or gone: what is in charge stays
    if rung.playbook:
        ladder.now = rung.playbook
        if busy is not None:
            del state.runs[busy.id]  # it has not touched anything
        state.plans.pop(incident.id, None)  # it is planned anew at once
        return []
    _leave_to_people(state, incident, at)
    return [Tell(message=_message(incident, ladder, rung, at))]


def _leave_to_people(state: EngineState, incident: Incident, at: datetime) -> None:
    """The service rests for the escalation cooldown: a verified run would not be here, one at work is let end."""
    over = {r.id for r in state.runs.values() if r.incident_id == incident.id and r.state is not RunState.DONE}
    state.attempts[:] = [
        msgspec.structs.replace(a, outcome="escalated", ended_at=at) if a.run in over and a.outcome else a
        for a in state.attempts
    ]


def _message(incident: Incident, ladder: Ladder, rung: Escalation, at: datetime) -> Message:
    return Message(
        key=f"{incident.id}/{ladder.playbook.id}/{ladder.rung}",
        version=1,
        severity="critical",
        title=f"{incident.root.name}: still failing, {rung.notify} is needed",
        at=at,
        facts=(("Playbook", ladder.playbook.id), ("Notify", rung.notify), ("Id", incident.id)),
        text=f"{ladder.playbook.id} has not helped within {rung.after_s:g} s.",
    )
