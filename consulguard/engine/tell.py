"""What people are told: one message per incident, edited in place; one for a storm, the view, a pause."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from consulguard import correlate
from consulguard.engine.state import EngineState, Plan, Told
from consulguard.events import AnyEffect, Tell
from consulguard.model import Decision, Incident, IncidentState, Message, Question, Role, Run

TOP = 5  # names listed before "+n more"
STORM, VIEW, PAUSE, DIGEST, STALE = "storm", "view", "pause", "digest", "config"
_OPEN = (IncidentState.OPEN, IncidentState.RECOVERING)


def news(state: EngineState, changed: list[Incident], at: datetime) -> list[AnyEffect]:
    """The messages that are new or differ from what was last told."""
    drafts = [
        m for m in (_storm(state, at), _view(state, at), _pause(state, at), _stale(state, at)) if m is not None
    ]
    known = {i.id: i for i in changed} | {i.id: i for i in _with_news(state, at)}
    for run in (r for r in state.runs.values() if r.updated_at == at):  # it may end after its incident did
        if (incident := correlate.find(state.book, run.incident_id)) is not None:
            known.setdefault(incident.id, incident)
        elif run.state.over and run.effects:
            drafts.append(_left_behind(run, at))
    drafts += [m for i in known.values() if (m := _incident(state, i, at)) is not None]
    kept = state.book.incidents.keys() | state.runs.keys()
    for key in [k for k in state.told if k.startswith(("inc-", "run-")) and k not in kept]:
        del state.told[key]  # its id never comes again
    return [Tell(message=m) for d in drafts if (m := _if_new(state, d)) is not None]


def _with_news(state: EngineState, at: datetime) -> list[Incident]:
    """Open incidents that nobody was told of yet, or that were planned anew just now: the others say the same."""
    plans, told = state.plans, state.told
    incidents = correlate.open_incidents(state.book)
    return [i for i in incidents if i.id not in told or (i.id in plans and plans[i.id].at == at)]


def next_wake(state: EngineState, at: datetime) -> datetime | None:
    """When the youngest incident that is not told yet will be old enough."""
    wait = timedelta(seconds=state.policy.group_wait_s)
    moments = [i.opened_at + wait for i in correlate.open_incidents(state.book) if i.id not in state.told]
    coming = [m for m in moments if m > at]
    return min(coming) if coming else None


def _if_new(state: EngineState, draft: Message) -> Message | None:
    told = state.told.get(draft.key)
    known = draft.incident.version if draft.incident is not None else 0
    seed = repr((draft.severity, draft.title, draft.facts, draft.text, known))
    digest = hashlib.sha256(seed.encode()).hexdigest()
    lines = draft.thread[told.lines if told else 0 :]
    if told is not None and told.digest == digest and not lines:
        return None
    version = told.version + 1 if told else 1
    state.told[draft.key] = Told(version=version, digest=digest, lines=len(draft.thread))
    return Message(
        key=draft.key,
        version=version,
        severity=draft.severity,
        title=draft.title,
        at=draft.at,
        incident=draft.incident,
        facts=draft.facts,
        thread=lines,
        text=draft.text,
    )


def _incident(state: EngineState, incident: Incident, at: datetime) -> Message | None:
    if incident.id not in state.told:
        young = (at - incident.opened_at).total_seconds() < state.policy.group_wait_s
        if young or state.storm.on or incident.state not in _OPEN:
            return None
    plan = state.plans.get(incident.id)
    question = next((q for q in state.questions.values() if q.pending and q.run.incident_id == incident.id), None)
    runs = [r for r in state.runs.values() if r.incident_id == incident.id and r.effects]
    affected = sum(m.role is Role.AFFECTED for m in incident.members)
    severity = {IncidentState.OPEN: "critical", IncidentState.RECOVERING: "warning"}.get(
        incident.state, "resolved"
    )
    return Message(
        key=incident.id,
        version=0,
        severity=severity,
        title=f"{incident.root.name}: root cause" + (f" ({affected} affected)" if affected else ""),
        at=at,
        incident=incident,
        facts=(*_facts(plan, runs), *_asked(question), *_paused(state)),
        thread=tuple(line for r in runs for line in r.log),
    )


def _left_behind(run: Run, at: datetime) -> Message:
    """A run that ended when its incident was long over and forgotten: its only message."""
    title = (
        f"{run.subject.target.name}: a run of {run.playbook.id} is {run.state.value}, its incident is long over"
    )
    return Message(
        key=run.id, version=0, severity="warning", title=title, at=at, facts=_facts(None, [run]), thread=run.log
    )


def _facts(plan: Plan | None, runs: list[Run]) -> tuple[tuple[str, str], ...]:
    """What is done about it. Root, members and evidence are the incident's own and told from there."""
    if runs:
        run = runs[-1]
        done = (("Playbook", run.playbook.id), ("Run", run.state.value), ("Because", run.reason))
        return tuple(fact for fact in done if fact[1])
    if plan is None or plan.playbook is None:
        return (("Playbook", "none matches"),)
    name = (("Playbook", f"{plan.playbook.id} ({plan.effective_mode})"),)
    if not plan.steps:
        return name
    first = plan.steps[0]
    stopped = first.verdict.decision in (Decision.DENY, Decision.ASK)
    why = f", {first.verdict.guard}: {first.verdict.reason}" if stopped else ""
    return (*name, ("Next step", f"{first.name}: {first.verdict.decision}{why}"))


def _asked(question: Question | None) -> tuple[tuple[str, str], ...]:
    if question is None:
        return ()
    people = "a person" if question.needed == 1 else f"{question.needed} people"
    until = f"{question.expires_at:%Y-%m-%d %H:%M:%S}Z"
    return (("Approval", f"{people} until {until}: consulguard approval approve {question.id[:8]}"),)


def _paused(state: EngineState) -> tuple[tuple[str, str], ...]:
    reasons = "; ".join(f"{p.depth} by {p.who}: {p.why}" for p in state.pauses)
    return (("Paused", reasons),) if reasons else ()


def names(all_names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(all_names) - TOP
    return ", ".join(all_names[:TOP]) + (f" +{more} more" if more > 0 else "")


def _storm(state: EngineState, at: datetime) -> Message | None:
    if not state.storm.on:
        return _over(state, STORM, "Storm over: remediation may go on", at)
    return Message(
        key=STORM,
        version=0,
        severity="critical",
        title="Storm brake on: nothing will be remediated",
        at=at,
        text=f"{_sentence(state.storm.reason)}\nToo much fails at once to trust a cure: people decide.",
    )


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:].rstrip(".") + "."


def _view(state: EngineState, at: datetime) -> Message | None:
    if state.view.trusted:
        return _over(state, VIEW, "Consul's view is trusted again", at)
    if state.view.as_of is None:
        return None
    return Message(
        key=VIEW,
        version=0,
        severity="warning",
        title="Consul's view is not trusted: nothing will be remediated",
        at=at,
        text="Health is kept as it was last known.",
    )


def _pause(state: EngineState, at: datetime) -> Message | None:
    if not state.pauses:
        return _over(state, PAUSE, "Remediation resumed", at)
    ((_, reasons),) = _paused(state)
    return Message(key=PAUSE, version=0, severity="warning", title="Remediation is paused", at=at, text=reasons)


def _stale(state: EngineState, at: datetime) -> Message | None:
    if not state.stale:
        return _over(state, STALE, "The playbooks are in force as they are written", at)
    title = "Playbooks cannot be read: the last good ones stay in force"
    return Message(key=STALE, version=0, severity="warning", title=title, at=at, text=state.stale)


def _over(state: EngineState, key: str, title: str, at: datetime) -> Message | None:
    """The closing edit of a message that was told, or nothing."""
    if key not in state.told:
        return None
    return Message(key=key, version=0, severity="resolved", title=title, at=at)


def digest(state: EngineState, at: datetime) -> list[AnyEffect]:
    """What still fails, in one message that is edited each time; nothing while nothing fails."""
    incidents = correlate.open_incidents(state.book)
    if not incidents:
        draft = _over(state, DIGEST, "Nothing fails any more", at)
    else:
        lines = [f"{i.root.name} since {i.opened_at:%Y-%m-%d %H:%M} UTC ({i.id})" for i in incidents]
        title = f"Still failing now: {len(incidents)}"
        draft = Message(key=DIGEST, version=0, severity="info", title=title, at=at, text=names(lines))
    told = _if_new(state, draft) if draft is not None else None
    return [Tell(message=told)] if told is not None else []
