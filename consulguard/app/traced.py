"""What each kind of span says: values of the engine as spans. Names only, never what was sent or answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from consulguard.events import Looked, Resulted
from consulguard.model import (
    Incident,
    Intent,
    Outcome,
    Question,
    QuestionState,
    Role,
    Root,
    Run,
    RunState,
    Target,
    Trouble,
)
from consulguard.serve import Span

Attributes = dict[str, str | int | float | bool]
Decided = tuple[str, str, str, str]  # playbook, mode, decision, guard
WITHDRAWN = "withdrawn"  # a run that had touched nothing and was given up


def observation(incident: Incident, troubles: Mapping[str, Trouble]) -> Span:
    """From Consul's first word about it to the incident."""
    roots = [m for m in incident.members if m.role is Role.ROOT_CAUSE] or list(incident.members)
    seen = [troubles[m.target.key] for m in roots if m.target.key in troubles]
    opened = incident.updated_at if incident.reopened else incident.opened_at
    states = sorted({member.state.value for member in roots})
    return Span(
        trace=incident.id,
        key=f"observation/{incident.reopened}",
        parent=_key(incident),
        name="observation",
        start=min((*(t.not_passing_since for t in seen), opened)),
        end=opened,
        attributes=_of_root(incident.root)
        | {"consulguard.state": ",".join(states), "consulguard.members": len(incident.members)}
        | {"consul.index": max((t.index for t in seen), default=0)},
    )


def decision(incident: Incident, decided: Decided, at: datetime, journaled_at: datetime) -> Span:
    """From the event that moved it to the decision in the journal."""
    told = zip(("playbook", "mode", "decision", "guard"), decided, strict=True)
    return Span(
        trace=incident.id,
        key=f"decision/{at.isoformat()}",
        parent=_key(incident),
        name="decision",
        start=at,
        end=journaled_at,
        attributes=_of_root(incident.root) | {f"consulguard.{name}": word for name, word in told if word},
    )


def approval(question: Question) -> Span:
    run = question.run
    said = {"consulguard.decision": question.state.value, "consulguard.votes": len(question.votes)}
    return Span(
        trace=run.incident_id,
        key=f"approval/{question.id}",
        parent=_key_of_run(run.id),
        name="approval",
        start=question.asked_at,
        end=question.decided_at or question.asked_at,
        failed=question.state in (QuestionState.EXPIRED, QuestionState.DENIED),
        attributes=_of_run(run) | said | {"consulguard.votes_needed": question.needed},
    )


def look(looked: Looked, run: Run, began: datetime) -> Span:
    """A read of Consul: just before an effect, or of a verification."""
    verifies = looked.key.endswith("?verify")
    return Span(
        trace=run.incident_id,
        key=f"look/{looked.key}/{looked.at.isoformat()}",
        parent=_key_of_verification(run) if verifies else _key_of_run(run.id),
        name="look" if verifies else "confirm",
        start=min(began, looked.at),
        end=looked.at,
        outward=True,
        failed=bool(looked.error),
        attributes=_of_target(looked.target)
        | {"consulguard.state": looked.status.value, "consul.index": looked.index}
        | {"consulguard.healthy": looked.healthy, "consulguard.registered": looked.registered},
    )


def intent(of: Intent, outcome: Outcome, since: datetime, until: datetime) -> Span:
    """From written down to known: all tries under one attempt id."""
    return Span(
        trace=of.incident_id,
        key=f"intent/{of.id}",
        parent=_key_of_run(run_of(of)),
        name="undo" if of.undo else "intent",
        start=since,
        end=until,
        failed=outcome is not Outcome.DONE,
        attributes=_of_intent(of) | {"consulguard.outcome": outcome.value},
    )


def effect(of: Intent, event: Resulted, *, probe: bool) -> Span:
    """One try, or one look whether it had happened."""
    result, word = event.result, "probe" if probe else "effect"
    return Span(
        trace=of.incident_id,
        key=f"{word}/{of.id}/{result.started_at.isoformat()}",
        parent=f"intent/{of.id}",
        name=f"{word} {of.action}",
        start=result.started_at,
        end=result.ended_at,
        outward=True,
        failed=result.outcome is not Outcome.DONE,
        attributes=_of_intent(of) | {"consulguard.outcome": result.outcome.value, "consul.index": result.index},
    )


def verification(run: Run, since: datetime, until: datetime) -> Span:
    """``run``: as it is after it."""
    passed = run.state is RunState.DONE
    inconclusive = run.reason.startswith("inconclusive")
    result = "passed" if passed else "inconclusive" if inconclusive else "failed"
    return Span(
        trace=run.incident_id,
        key=_key_of_verification(run),
        parent=_key_of_run(run.id),
        name="verification",
        start=since,
        end=until,
        failed=not passed,
        attributes=_of_run(run) | {"consulguard.result": result, "consulguard.good_looks": run.good_looks},
    )


def remediation(run: Run, until: datetime) -> Span:
    """A run from its plan to its result."""
    outcome = run.state.value if run.state.over else WITHDRAWN
    mode = "approve" if run.approved_until is not None else "auto"
    return Span(
        trace=run.incident_id,
        key=_key_of_run(run.id),
        parent="incident/0",
        name=f"remediation {run.playbook.id}",
        start=run.started_at,
        end=until,
        failed=run.state.over and run.state is not RunState.DONE,
        attributes=_of_run(run)
        | {"consulguard.outcome": outcome, "consulguard.mode": mode}
        | {"consulguard.effects": run.effects, "consulguard.epoch": run.epoch},
    )


def whole(incident: Incident, runs: int, until: datetime) -> Span:
    """The incident itself: the root of its trace, or, where it was opened again, the first of its roots' child."""
    merged = {"consulguard.merged_into": incident.merged_into} if incident.merged_into else {}
    return Span(
        trace=incident.id,
        key=_key(incident),
        parent="incident/0" if incident.reopened else "",
        name="incident",
        start=incident.opened_at,
        end=until,
        attributes=_of_root(incident.root)
        | {"consulguard.state": incident.state.value, "consulguard.confidence": incident.confidence}
        | {"consulguard.members": len(incident.members), "consulguard.runs": runs}
        | merged,
    )


# ---- keys and attributes


def run_of(of: Intent) -> str:
    """The run's id: an intent's begins with it."""
    return of.id.partition("/")[0]


def _key(incident: Incident) -> str:
    return f"incident/{incident.reopened}"


def _key_of_run(run_id: str) -> str:
    return f"run/{run_id}"


def _key_of_verification(run: Run) -> str:
    return f"verification/{run.id}"


def _of_target(target: Target) -> Attributes:
    named = {"consul.datacenter": target.dc, "consul.partition": target.partition}
    named |= {"consul.namespace": target.namespace, "consul.peer": target.peer, "consul.service": target.service}
    named |= {"consul.node": target.node, "consul.instance": target.instance}
    return {name: value for name, value in named.items() if value}


def _of_root(root: Root) -> Attributes:
    service = root.name if root.kind in ("service", "instance") else ""
    node = root.name if root.kind == "node" else root.node
    named = {"consul.datacenter": root.datacenter, "consul.partition": root.partition}
    named |= {"consul.namespace": root.namespace, "consul.peer": root.peer, "consul.service": service}
    named |= {"consul.node": node, "consul.instance": root.instance}
    named |= {"consul.zone": root.name if root.kind == "zone" else "", "consulguard.root": root.kind}
    return {name: value for name, value in named.items() if value}


def _of_run(run: Run) -> Attributes:
    return _of_target(run.subject.target) | {"consulguard.run": run.id, "consulguard.playbook": run.playbook.id}


def _of_intent(of: Intent) -> Attributes:
    return _of_target(of.target) | {
        "consulguard.intent": of.id,
        "consulguard.action": of.action,
        "consulguard.playbook": of.playbook,
        "consulguard.run": run_of(of),
        "consulguard.epoch": of.epoch,
    }
