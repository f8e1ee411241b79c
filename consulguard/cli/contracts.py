"""The JSON other programs depend on: documented in docs/contracts.md, changed only by adding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from consulguard import correlate, health
from consulguard.act import Action
from consulguard.engine import EngineState, Plan, PlannedStep
from consulguard.errors import ActionRefused
from consulguard.model import (
    Decision,
    Incident,
    IncidentState,
    Member,
    Question,
    Root,
    Run,
    Silence,
    Target,
    Verdict,
)
from consulguard.plan import format_matcher

Json = dict[str, Any]
Actions = Mapping[str, Action[Any]]


def plain(value: Any) -> Any:
    """A table value as JSON-ready data; times as RFC 3339."""
    return msgspec.to_builtins(value)


def whole(value: Any) -> Any:
    """As ``plain``, with the fields that have their default value, which the journal leaves out."""
    if isinstance(value, msgspec.Struct):
        return {name: whole(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [whole(inner) for inner in value]
    return plain(value)


def view_of(state: EngineState) -> Json:
    view = state.view
    return {
        "trusted": view.trusted,
        "reasons": list(view.reasons),
        "services": view.services,
        "instances": view.instances,
        "nodes": view.nodes,
        "not_passing": view.not_passing,
    }


def root_of(root: Root) -> Json:
    told: Json = {"kind": root.kind, "name": root.name, "datacenter": root.datacenter}
    if root.kind == "instance":
        told |= {"node": root.node, "instance": root.instance}
    elif root.kind == "node":
        told["node"] = root.node or root.name
    return told


def member_of(member: Member) -> Json:
    told = {"kind": member.kind, "name": member.name, "role": member.role.value, "state": member.state.value}
    return told | {"since": plain(member.since)}


def incident_of(incident: Incident) -> Json:
    return {
        "id": incident.id,
        "state": incident.state.value,
        "root": root_of(incident.root),
        "confidence": round(incident.confidence, 3),
        "members": [member_of(m) for m in incident.members],
        "known": not incident.unknown,
        "why": list(incident.why),
        "alternatives": [
            {"root": root_of(a.root), "confidence": round(a.confidence, 3), "why": a.why}
            for a in incident.alternatives
        ],
        "opened_at": plain(incident.opened_at),
        "updated_at": plain(incident.updated_at),
        "resolved_at": plain(incident.resolved_at),
        "acknowledged": {"by": incident.acked_by, "at": plain(incident.acked_at)} if incident.acked_by else None,
        "assigned_to": incident.assigned_to,
        "resolved_by": {"who": incident.closed_by, "why": incident.closed_why} if incident.closed_by else None,
        "reopened_by": {"who": incident.kept_by, "why": incident.kept_why} if incident.kept_by else None,
    }


def silence_of(silence: Silence, now: datetime, hushed: Mapping[str, str]) -> Json:
    """``hushed``: incident -> its silence."""
    state = "expired" if silence.ends_at <= now else "pending" if silence.starts_at > now else "active"
    return {
        "id": silence.id,
        "state": state,
        "matchers": [format_matcher(m) for m in silence.matchers],
        "author": silence.author,
        "comment": silence.comment,
        "starts_at": plain(silence.starts_at),
        "ends_at": plain(silence.ends_at),
        "incidents": [i for i, by in hushed.items() if by == silence.id] if state == "active" else [],
    }


def planned_of(plan: Plan | None, actions: Actions) -> Json:
    if plan is None:
        return {"playbook": None, "considered": [], "steps": []}
    playbook = plan.playbook
    return {
        "playbook": playbook
        and {"name": playbook.id, "mode": playbook.mode.value, "effective_mode": plan.effective_mode.value},
        "considered": [
            {"playbook": c.playbook, "matched": c.matched, "because": c.because} for c in plan.considered
        ],
        "steps": [step_of(s, actions) for s in plan.steps],
    }


def step_of(step: PlannedStep, actions: Actions) -> Json:
    intent = step.intent
    return {
        "name": step.name,
        "uses": step.uses,
        "target": target_of(intent.target) if intent else {},
        "params": intent.params if intent else {},
        "verdict": step.verdict.decision.value,
        "guards": guards_of(step.verdicts or (step.verdict,)),
        "would": would(step, actions),
    }


def would(step: PlannedStep, actions: Actions) -> str:
    """What would be sent, in one line; for a step that cannot be filled in, why not."""
    if step.intent is None:
        return f"nothing: {step.verdict.reason}"
    action = actions.get(step.uses)
    if action is None:
        return f"nothing: no action is called {step.uses}"
    try:
        return action.preview(step.intent, step.intent.params)
    except ActionRefused as error:
        return f"nothing: {error}"


def target_of(target: Target) -> Json:
    told = {"kind": target.kind, "service": target.service, "node": target.node, "instance": target.instance}
    told |= {"datacenter": target.dc, "namespace": target.namespace, "partition": target.partition}
    return {k: v for k, v in told.items() if v}


def approval_of(question: Question) -> Json:
    run = question.run
    return {
        "id": question.id,
        "state": question.state.value,
        "reason": question.reason,
        "incident": run.incident_id,
        "playbook": run.playbook.id,
        "target": target_of(run.subject.target),
        "steps": [
            {
                "name": e.step,
                "uses": e.action,
                "target": target_of(e.target),
                "params": msgspec.json.decode(e.params or "null"),
            }
            for e in question.effects
        ],
        "plan": question.plan,
        "needed": question.needed,
        "approvers": {kind: list(who) for kind, who in question.rule.approvers.items()},
        "votes": [{"who": v.who, "agrees": v.agrees, "at": plain(v.at)} for v in question.votes],
        "asked_at": plain(question.asked_at),
        "expires_at": plain(question.expires_at),
    }


def plan_of(state: EngineState, actions: Actions) -> Json:
    """``consulguard plan -o json``: open incidents with what would be done about each."""
    return {
        "at": plain(state.at),
        "view": view_of(state),
        "incidents": [
            incident_of(i) | planned_of(state.plans.get(i.id), actions)
            for i in correlate.open_incidents(state.book)
            if i.state is not IncidentState.RESOLVED
        ],
    }


def pending(state: EngineState) -> bool:
    """Whether a run of the present plan would, now or after waiting or asking, act."""
    acting = (Decision.ALLOW, Decision.ASK, Decision.WAIT)
    return any(p.steps and p.steps[0].verdict.decision in acting for p in state.plans.values())


def topology_of(state: EngineState, service: str | None = None) -> Json:
    """``consulguard topology -o json``."""
    found = correlate.topology(state.book, health.troubles(state.health), service)
    return {
        "as_of": plain(found.as_of),
        "services": [
            {"name": s.name, "kind": s.kind or "service", "state": plain(s.state), "instances": plain(s.instances)}
            for s in found.services
        ],
        "edges": [
            {"from": e.source, "to": e.destination, "provenance": e.provenance, "trust": round(e.trust, 3)}
            for e in found.edges
        ],
    }


def run_of(run: Run) -> Json:
    return {
        "id": run.id,
        "incident": run.incident_id,
        "playbook": run.playbook.id,
        "target": target_of(run.subject.target),
        "state": run.state.value,
        "reason": run.reason,
        "log": list(run.log),
        "guards": guards_of(run.verdicts),
    }


def guards_of(verdicts: Iterable[Verdict]) -> list[Json]:
    """Every guard's answer, in their order."""
    return [{"guard": v.guard, "verdict": v.decision.value, "reason": v.reason} for v in verdicts]
