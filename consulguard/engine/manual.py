"""A person puts a playbook in charge of what fails in a service. The guards are asked as ever."""

from __future__ import annotations

from datetime import datetime

from consulguard import correlate
from consulguard.engine import planning
from consulguard.engine.people import identity
from consulguard.engine.state import EngineState, Order
from consulguard.events import AnyEffect, Commanded, Reply
from consulguard.model import Decision, Incident


def run(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """``playbook run``: it starts now, waits for an approval, or the answer says what is against it.

    What is refused is not kept, but with ``dry_run``: the caller drops the effects and wants to see the plan.
    """
    playbook, service = str(said.args.get("playbook", "")), str(said.args.get("service", ""))
    if playbook not in {p.id for p in state.playbooks}:
        return _no(said, f"there is no playbook {playbook!r}; see: consulguard playbook list")
    incident = _failing(state, service)
    if incident is None:
        return _no(said, f"nothing fails in {service!r} that is known as an incident")
    if state.started(incident.id) is not None:
        return _no(said, f"not now: a run is at work on {incident.id} already", incident)
    before = state.orders.get(incident.id)
    state.orders[incident.id] = Order(playbook=playbook, service=service, who=said.who, asker=identity(said))
    effects = planning.plan_one(state, incident, at)
    if against := _against(state, incident):
        if before is not None:
            state.orders[incident.id] = before
        elif said.args.get("dry_run") is not True:
            del state.orders[incident.id]
        return [*effects, *_no(said, f"not now: {against}", incident)]
    started = state.started(incident.id) is not None
    then = "starts" if started else "waits for an approval: consulguard approval list"
    text = f"{playbook} on {service} ({incident.id}) {then}"
    return [*effects, Reply(key=said.key, ok=True, text=text, incident=incident.id)]


def _no(said: Commanded, text: str, incident: Incident | None = None) -> list[AnyEffect]:
    known = incident.id if incident is not None else ""
    return [Reply(key=said.key, ok=False, text=text, blocked=bool(known), incident=known)]


def _failing(state: EngineState, service: str) -> Incident | None:
    """The oldest open incident in which the service has a part."""
    for incident in correlate.open_incidents(state.book):
        if any(
            s.target.service == service
            for s in correlate.subjects(state.book, incident, state.troubles(), state.policy)
        ):
            return incident
    return None


def _against(state: EngineState, incident: Incident) -> str:
    plan = state.plans[incident.id]
    if plan.playbook is None:
        return "; ".join(c.because for c in plan.considered) or "the playbook does not match"
    if not plan.steps:
        return f"{plan.playbook.id} has no step: it only tells people"
    first = plan.steps[0].verdict
    if first.decision is Decision.ALLOW and state.started(incident.id) is None:
        return f"the incident is {incident.state.value}"
    return "" if first.decision in (Decision.ALLOW, Decision.ASK) else f"{first.guard}: {first.reason}"
