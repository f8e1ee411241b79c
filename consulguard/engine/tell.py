"""What people are told: one message per incident, edited in place; one for a storm, the view, a pause.

A silenced incident is not told; where it was told before it says once that it is silenced, then nothing more until
the silence is over or the incident is.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec

from consulguard import correlate
from consulguard.engine import offers, silences
from consulguard.engine.labels import fit
from consulguard.engine.state import EngineState, Plan, Told
from consulguard.events import AnyEffect, Tell
from consulguard.model import Decision, Incident, IncidentState, Message, Question, Role, Run, Silence

TOP = 5  # names listed before "+n more"
STORM, VIEW, PAUSE, DIGEST, STALE = "storm", "view", "pause", "digest", "config"
_OPEN = (IncidentState.OPEN, IncidentState.RECOVERING)


def news(state: EngineState, changed: list[Incident], at: datetime) -> list[AnyEffect]:
    """The messages that are new or differ from what was last told."""
    drafts = [
        m for m in (_storm(state, at), _view(state, at), _pause(state, at), _stale(state, at)) if m is not None
    ]
    drafts += _silences(state, at)
    known = {i.id: i for i in changed} | {i.id: i for i in _with_news(state, at)}
    for run in (r for r in state.runs.values() if r.updated_at == at):  # it may end after its incident did
        if (incident := correlate.find(state.book, run.incident_id)) is not None:
            known.setdefault(incident.id, incident)
        elif run.state.over and run.effects:
            drafts.append(_left_behind(run, at))
    drafts += [m for i in known.values() if (m := of_incident(state, i, at)) is not None]
    _forget(state)
    return [Tell(message=m) for d in drafts if (m := if_new(state, d)) is not None]


def _forget(state: EngineState) -> None:
    """What is over and gone: its id never comes again."""
    kept = state.book.incidents.keys() | state.runs.keys() | state.silences.keys()
    for key in [k for k in state.told if k.startswith(("inc-", "run-", "sil-")) and k not in kept]:
        offers.forget(state, state.told.pop(key).offers)


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


def if_new(state: EngineState, draft: Message) -> Message | None:
    told = state.told.get(draft.key)
    known = draft.incident.version if draft.incident is not None else 0
    seed = repr((draft.severity, draft.title, draft.facts, draft.text, known))
    digest = hashlib.sha256(seed.encode()).hexdigest()
    lines = draft.thread[told.lines if told else 0 :]
    if told is not None and told.digest == digest and not lines:
        return None
    version = told.version + 1 if told else 1
    made, ids = offers.made(state, told.offers if told else (), draft.offers, draft.at)
    state.told[draft.key] = Told(
        version=version,
        digest=digest,
        lines=len(draft.thread),
        silenced=draft.severity == "silenced",
        offers=ids,
    )
    return msgspec.structs.replace(draft, version=version, thread=lines, offers=made)


def of_incident(state: EngineState, incident: Incident, at: datetime) -> Message | None:
    silence = state.silence_of(incident.id) if incident.state in _OPEN else None
    if (told := state.told.get(incident.id)) is None:
        young = (at - incident.opened_at).total_seconds() < state.policy.group_wait_s
        if young or state.storm.on or incident.state not in _OPEN or silence is not None:
            return None
    elif silence is not None and told.silenced:
        return None
    plan = state.plans.get(incident.id)
    question = next((q for q in state.questions.values() if q.pending and q.run.incident_id == incident.id), None)
    runs = [r for r in state.runs.values() if r.incident_id == incident.id and r.effects]
    affected = sum(m.role is Role.AFFECTED for m in incident.members)
    return Message(
        key=incident.id,
        version=0,
        severity="silenced" if silence is not None else _severity(incident),
        title=f"{incident.root.name}: root cause" + (f" ({affected} affected)" if affected else ""),
        at=at,
        incident=incident,
        facts=(*_facts(plan, runs), *_asked(question), *_said(incident), *_hushed(silence), *_paused(state)),
        thread=tuple(line for r in runs for line in r.log),
        offers=offers.wanted(state, incident, question),
    )


def _severity(incident: Incident) -> str:
    if incident.state is IncidentState.OPEN:
        return "acknowledged" if incident.acked_by else "critical"
    return "warning" if incident.state is IncidentState.RECOVERING else "resolved"


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
    agreed = ", ".join(v.who for v in question.votes if v.agrees)
    so_far = f" ({agreed} agreed)" if agreed else ""
    until = stamp(question.expires_at)
    steps = "; ".join(f"{e.step}: {e.action} on {e.target.name} {e.params}".rstrip() for e in question.effects)
    return (
        ("Approval", f"{people} until {until}{so_far}: consulguard approval approve {question.id[:8]}"),
        ("Would do", steps),
    )


def _said(incident: Incident) -> tuple[tuple[str, str], ...]:
    """What people did to the incident."""
    closed, kept = f"{incident.closed_by}: {incident.closed_why}", f"{incident.kept_by}: {incident.kept_why}"
    found: list[tuple[str, str]] = []
    if incident.acked_at is not None:
        found.append(("Acknowledged", f"by {incident.acked_by} at {stamp(incident.acked_at)}"))
    if incident.assigned_to:
        found.append(("Assigned to", incident.assigned_to))
    if incident.closed_by:
        found.append(("Resolved by", closed.removesuffix(": ")))
    if incident.kept_by:
        found.append(("Reopened by", kept.removesuffix(": ")))
    return tuple(found)


def _hushed(silence: Silence | None) -> tuple[tuple[str, str], ...]:
    if silence is None:
        return ()
    return (("Silenced", f"until {stamp(silence.ends_at)} by {silence.author}: {silence.comment} ({silence.id})"),)


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


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


def _silences(state: EngineState, at: datetime) -> list[Message]:
    """A silence is told when it begins, and the same message says that it is over, and what it leaves."""
    drafts = []
    for silence in state.silences.values():
        told = state.told.get(silence.id)
        if told is None and silence.id in state.hushing:
            text = f"{silence.author}: {silence.comment}"
            title = f"Silence until {stamp(silence.ends_at)}: {silences.shown(silence)}"
            drafts.append(_of_silence(silence, "silenced", title, at, text))
        elif told is not None and told.silenced and silence.id not in state.hushing:
            still = [i for i in correlate.open_incidents(state.book) if fit(state, silence.matchers, i)]
            text = (
                f"Still failing: {names([i.root.name for i in still])}" if still else "Nothing it fits fails now."
            )
            title = f"Silence is over: {silences.shown(silence)}"
            drafts.append(_of_silence(silence, "info", title, at, text, f"over at {stamp(at)}. {text}"))
    return drafts


def _of_silence(silence: Silence, severity: str, title: str, at: datetime, *text: str) -> Message:
    return Message(key=silence.id, version=0, severity=severity, title=title, at=at, text=text[0], thread=text[1:])


def _stale(state: EngineState, at: datetime) -> Message | None:
    if not state.stale:
        return _over(state, STALE, "The files are in force as they are written", at)
    title = "The files cannot be used as they are: what was last good stays in force"
    return Message(key=STALE, version=0, severity="warning", title=title, at=at, text=state.stale)


def _over(state: EngineState, key: str, title: str, at: datetime) -> Message | None:
    """The closing edit of a message that was told, or nothing."""
    if key not in state.told:
        return None
    return Message(key=key, version=0, severity="resolved", title=title, at=at)


def digest(state: EngineState, at: datetime) -> list[AnyEffect]:
    """What still fails, in a message of its own each time; nothing while nothing fails."""
    for key in [key for key in state.told if key.startswith(DIGEST)]:
        del state.told[key]  # it is never edited
    incidents = [i for i in correlate.open_incidents(state.book) if i.id not in state.hushed]
    if not incidents:
        return []
    lines = [f"{i.root.name} since {i.opened_at:%Y-%m-%d %H:%M} UTC ({i.id}{_whose(i)})" for i in incidents]
    title = f"Digest: {len(incidents)} still failing"
    key = f"{DIGEST}-{at:%Y%m%dT%H%M%S}"
    told = if_new(state, Message(key=key, version=0, severity="info", title=title, at=at, text=names(lines)))
    return [Tell(message=told)] if told is not None else []


def _whose(incident: Incident) -> str:
    person = incident.assigned_to or incident.acked_by
    return f", {person} looks after it" if person else ""
