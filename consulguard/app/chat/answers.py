"""What the reading verbs answer, from the state that decides: lines for people, not escaped yet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from consulguard import correlate
from consulguard.act import Action
from consulguard.engine import EngineState, Plan, PlannedStep
from consulguard.errors import ActionRefused
from consulguard.model import Decision, Incident, IncidentState, Question, Run, Verdict
from consulguard.notify import text

SHOWN = 30
Actions = Mapping[str, Action[Any]]


def status(state: EngineState, service: str = "") -> list[str]:
    """How the mesh, or one service, is now."""
    lines = _view(state)
    found = correlate.topology(state.book, state.troubles()).services
    if service:
        found = tuple(s for s in found if s.name == service)
        if not found:
            return [*lines, f"Consul knows no service {service}"]
    bad = [s for s in found if service or s.state != "passing"]
    for one in bad[:SHOWN]:
        counts = ", ".join(f"{number} {how}" for how, number in one.instances.items())
        lines.append(f"{one.name}: {one.state} ({counts or 'no instance known'})")
    lines += _more(len(bad))
    if not bad:
        lines.append(f"All {len(found)} services pass.")
    concerned = [i for i in _open(state) if not service or _concerns(i, service)]
    return lines + [_headline(i) for i in concerned[:SHOWN]]


def incidents(state: EngineState) -> list[str]:
    """Those that are open."""
    found = _open(state)
    lines = [_headline(i) for i in found[:SHOWN]] + _more(len(found))
    return [*_view(state), *(lines or ["No incident is open."])]


def show(state: EngineState, incident: str, actions: Actions) -> list[str]:
    """One incident: cause, evidence, members, plan, what is asked, runs."""
    found = find(state, incident)
    if isinstance(found, str):
        return [found]
    lines = [_headline(found), *(f"- {why}" for why in found.why[:10])]
    for member in found.members[:SHOWN]:
        lines.append(f"{member.role.value}: {member.kind} {member.name} {member.state.value}")
    lines += _more(len(found.members))
    if found.state is not IncidentState.RESOLVED:
        lines += _planned(state.plans.get(found.id), actions)
    lines += [line for q in state.questions.values() if q.run.incident_id == found.id for line in _question(q)]
    return lines + [line for run in _runs(state, found) for line in _run(run)]


def explain(state: EngineState, subject: str, actions: Actions) -> list[str]:
    """For and against: for an incident every guard, for a service its incidents, for a playbook every match."""
    found = state.book.incidents.get(subject)
    if found is not None:
        return [_headline(found), *(f"- {why}" for why in found.why), *_reasons(state, found, actions)]
    playbook = next((p for p in state.playbooks if p.id == subject), None)
    if playbook is not None:
        lines = [f"{playbook.id}: mode {playbook.mode.value}, priority {playbook.priority}", playbook.description]
        for incident in _open(state):
            plan = state.plans.get(incident.id)
            said = [c for c in plan.considered if c.playbook == subject] if plan is not None else []
            lines += [f"{incident.id}: {'matches' if c.matched else 'no match'}: {c.because}" for c in said]
        return lines
    lines = status(state, subject)
    for incident in (i for i in _open(state) if _concerns(i, subject)):
        lines += [f"- {why}" for why in incident.why] + _reasons(state, incident, actions)
    return lines


def timeline(state: EngineState, incident: str) -> list[str]:
    """What happened to an incident and what was done about it, in order."""
    found = find(state, incident)
    if isinstance(found, str):
        return [found]
    lines = [(found.opened_at, f"opened: {text.root_name(found.root)}")]
    lines += [(m.since, f"{m.kind} {m.name} is {m.state.value} ({m.role.value})") for m in found.members]
    if found.resolved_at is not None:
        lines.append((found.resolved_at, "resolved"))
    for question in state.questions.values():
        if question.run.incident_id == found.id:
            lines.append((question.asked_at, f"asked: {question.run.playbook.id}, {question.needed} needed"))
            lines += [(v.at, f"{v.who} {'agreed' if v.agrees else 'refused'}") for v in question.votes]
            if question.decided_at is not None:
                lines.append((question.decided_at, f"{question.state.value}: {question.reason}"))
    told = [_headline(found)] + [f"{text.stamp(at)} {what}" for at, what in sorted(lines, key=_moment)]
    return told + [line for run in _runs(state, found) for line in _run(run)]


def plan(state: EngineState, actions: Actions, service: str = "") -> list[str]:
    """What would be done now. Every line about it starts with DRY-RUN."""
    found = [i for i in _open(state) if not service or _concerns(i, service)]
    lines = _view(state)
    for incident in found[:SHOWN]:
        lines += [_headline(incident), *_planned(state.plans.get(incident.id), actions)]
    return lines + (_more(len(found)) if found else ["No incident is open."])


def topology(state: EngineState, service: str = "") -> list[str]:
    """Who calls whom, in words."""
    found = correlate.topology(state.book, state.troubles(), service or None)
    if not found.services:
        return [f"Consul knows no service {service}" if service else "Nothing has been seen of the mesh yet."]
    names = {s.name: s.state for s in found.services}
    lines = [f"{e.source} ({names.get(e.source, '')}) calls {e.destination} ({names.get(e.destination, '')})"
             for e in found.edges]  # fmt: skip
    alone = names.keys() - {n for e in found.edges for n in (e.source, e.destination)}
    return [
        f"{len(names)} services, {len(found.edges)} edges",
        *lines,
        *(f"{n} ({names[n]})" for n in sorted(alone)),
    ]


def would(state: EngineState, incident: str, actions: Actions) -> list[str]:
    """A dry run's incident: what a person's order would do."""
    found = find(state, incident)
    if isinstance(found, str):
        return [found]
    return [_headline(found), *_planned(state.plans.get(found.id), actions, every=True)]


def find(state: EngineState, incident: str) -> Incident | str:
    """An incident by its id; else a sentence that says what is wrong."""
    found = state.book.incidents.get(incident)
    return found if found is not None else f"There is no incident {incident}; try: incidents"


# ---- parts


def _view(state: EngineState) -> list[str]:
    """What there is to say before anything else."""
    lines = []
    if state.view.as_of is None:
        lines.append("Consul has not been read yet.")
    elif not state.view.trusted:
        lines.append(f"What is seen of Consul is not trusted: {'; '.join(state.view.reasons)}")
    for pause in state.pauses:
        until = f" until {text.stamp(pause.until)}" if pause.until is not None else ""
        lines.append(f"Paused ({pause.depth}){until} by {pause.who}: {pause.why}")
    if state.storm.on:
        lines.append(f"Storm brake on: {state.storm.reason}")
    return lines


def _open(state: EngineState) -> list[Incident]:
    return [i for i in correlate.open_incidents(state.book) if i.state is not IncidentState.RESOLVED]


def _concerns(incident: Incident, service: str) -> bool:
    return service == incident.root.name or any(service in (m.name, m.target.service) for m in incident.members)


def _headline(incident: Incident) -> str:
    since = text.stamp(incident.opened_at)
    cause = f"{text.cause(incident.root, incident.unknown)} ({incident.confidence:.0%} sure)"
    return f"{incident.id} {incident.state.value} since {since}: {cause}"


def _planned(plan: Plan | None, actions: Actions, *, every: bool = False) -> list[str]:
    if plan is None or plan.playbook is None:
        return ["DRY-RUN nothing: no playbook matches"]
    lines = [f"DRY-RUN playbook {plan.playbook.id}, mode {plan.effective_mode.value}"]
    for number, step in enumerate(plan.steps, start=1):
        lines.append(f"DRY-RUN {number}. {step.verdict.decision.value} {step.name}: {_would(step, actions)}")
        said = step.verdicts or (step.verdict,)
        lines += [f"DRY-RUN    {_guard(v)}" for v in said if every or v.decision is not Decision.ALLOW]
    return lines


def _would(step: PlannedStep, actions: Actions) -> str:
    """What would be sent, in one line; for a step that cannot be filled in, why not."""
    action = actions.get(step.uses)
    if step.intent is None or action is None:
        return f"nothing: {step.verdict.reason if step.intent is None else f'no action is called {step.uses}'}"
    try:
        return action.preview(step.intent, step.intent.params)
    except ActionRefused as error:
        return f"nothing: {error}"


def _reasons(state: EngineState, incident: Incident, actions: Actions) -> list[str]:
    plan = state.plans.get(incident.id)
    said = plan.considered if plan is not None else ()
    lines = [f"{c.playbook}: {'matches' if c.matched else 'no match'}: {c.because}" for c in said]
    runs = [r for r in _runs(state, incident) if r.effects]
    lines += _planned(plan, actions, every=True)
    return lines + [line for r in runs for line in (_run(r)[0], *(f"  {_guard(v)}" for v in r.verdicts))]


def _guard(verdict: Verdict) -> str:
    return f"{verdict.decision.value} {verdict.guard}: {verdict.reason}"


def _question(question: Question) -> list[str]:
    head = f"asked {text.stamp(question.asked_at)}: {question.run.playbook.id}, {question.state.value}"
    effects = [f"  {e.step}: {e.action} on {e.target.name} {e.params}" for e in question.effects]
    if question.pending:
        head += f", {question.needed} needed until {text.stamp(question.expires_at)}, id {question.id}"
    return [head, *effects]


def _runs(state: EngineState, incident: Incident) -> list[Run]:
    return [run for run in state.runs.values() if run.incident_id == incident.id]


def _run(run: Run) -> list[str]:
    head = f"run of {run.playbook.id} on {run.subject.target.name}: {run.state.value} {run.reason}".rstrip()
    return [head, *(f"  {line}" for line in run.log)]


def _more(number: int) -> list[str]:
    return [f"+{number - SHOWN} more"] if number > SHOWN else []


def _moment(line: tuple[datetime, str]) -> datetime:
    return line[0]


Read = Callable[[EngineState], Iterable[str]]


def reader(verb: str, args: Mapping[str, Any], actions: Actions) -> Read:
    """The verb's answer as a function of the state. ``help`` is not among them: it depends on who asks."""
    service, incident = str(args.get("service", "")), str(args.get("incident", ""))
    readers: dict[str, Read] = {
        "status": lambda state: status(state, service),
        "incidents": incidents,
        "show": lambda state: show(state, incident, actions),
        "explain": lambda state: explain(state, str(args.get("subject", "")) or incident, actions),
        "timeline": lambda state: timeline(state, incident),
        "topology": lambda state: topology(state, service),
        "plan": lambda state: plan(state, actions, service),
    }
    return readers[verb]
