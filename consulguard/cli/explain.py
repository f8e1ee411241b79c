"""``consulguard explain``: every matcher, guard and state that decided, for and against."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consulguard import correlate
from consulguard.app import actions
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.cli.plan import show_incident, show_steps, show_view
from consulguard.config import Loaded
from consulguard.engine import EngineState
from consulguard.errors import ConfigError
from consulguard.model import Incident

Json = contracts.Json


def explain(
    options: Options,
    subject: Annotated[
        str, typer.Argument(help="A service, an incident (inc-...) or a playbook.", show_default=False)
    ],
    snapshot: Annotated[Path | None, typer.Option(help="Read this file instead of Consul; - is stdin.")] = None,
) -> int:
    """Why: for a service its state and incidents, for an incident every guard, for a playbook every match."""
    loaded = options.load()
    state = _remembered(loaded, subject) if snapshot is None else None
    if state is None:
        read = reading.look(options, loaded, snapshot)
        for error in read.disabled:
            if subject == Path(error.where.partition(":")[0]).stem:
                raise ConfigError(f"this playbook is disabled: {error.message}", where=error.where)
        state = read.state
    answer = _answer(state, subject)
    if not printing.data(options, answer):
        _show(printing.console(options), answer)
    return doors.OK if state.view.trusted else doors.CONSUL


def _remembered(loaded: Loaded, subject: str) -> EngineState | None:
    """The daemon's own state, when it is an incident of its. A dry run gives its incidents ids of their own."""
    past = asyncio.run(reading.past(loaded)) if subject.startswith("inc-") else None
    return past if past is not None and subject in past.book.incidents else None


def _answer(state: EngineState, subject: str) -> Json:
    incidents = correlate.open_incidents(state.book)
    if subject in state.book.incidents:
        return _about(state, "incident", subject, [state.book.incidents[subject]])
    topology = contracts.topology_of(state)
    found = next((s for s in topology["services"] if s["name"] == subject), None)
    if found is not None:
        concerned = [i for i in incidents if _concerns(i, subject)]
        edges = [e for e in topology["edges"] if subject in (e["from"], e["to"])]
        return _about(state, "service", subject, concerned) | {"service": found, "edges": edges}
    playbook = next((p for p in state.playbooks if p.id == subject), None)
    if playbook is None:
        raise doors.NotFound(f"{subject!r} is no service, incident or playbook; see: consulguard topology")
    return _about(state, "playbook", subject, incidents) | {"playbook": contracts.whole(playbook)}


def _concerns(incident: Incident, service: str) -> bool:
    return service == incident.root.name or any(service in (m.name, m.target.service) for m in incident.members)


def _about(state: EngineState, kind: str, subject: str, incidents: list[Incident]) -> Json:
    known = actions()
    return {
        "at": contracts.plain(state.at),
        "view": contracts.view_of(state),
        "kind": kind,
        "subject": subject,
        "incidents": [
            contracts.incident_of(i) | contracts.planned_of(state.plans.get(i.id), known) | _runs(state, i)
            for i in incidents
        ],
    }


def _runs(state: EngineState, incident: Incident) -> Json:
    """Runs that have done something, each with what every guard last said of it."""
    runs = [r for r in state.runs.values() if r.incident_id == incident.id and r.effects]
    return {"runs": [contracts.run_of(r) for r in runs]}


def _show(out: Console, answer: Json) -> None:
    show_view(out, answer)
    out.print(f"\n[bold]{printing.safe(answer['subject'])}[/] ({answer['kind']})")
    if answer["kind"] == "service":
        _service(out, answer)
    if answer["kind"] == "playbook":
        book = answer["playbook"]
        out.print(f"  mode {book['mode']}, priority {book['priority']}: {printing.safe(book['description'])}")
    if not answer["incidents"]:
        out.print("No open incident concerns it.")
    for incident in answer["incidents"]:
        out.print()
        show_incident(out, incident)
        only = answer["subject"] if answer["kind"] == "playbook" else ""
        for considered in incident["considered"]:
            if only in ("", considered["playbook"]):
                mark = "[green]matches[/]" if considered["matched"] else "no match"
                told = f"{considered['playbook']}: {considered['because']}"
                out.print(f"  {mark} {printing.safe(told)}")
        if not only or (incident["playbook"] or {}).get("name") == only:
            show_steps(out, incident, all_guards=True)
        for run in incident["runs"]:
            _run(out, run)


def _run(out: Console, run: Json) -> None:
    told = f"{run['id']} of {run['playbook']}: {run['state']} {run['reason']}".rstrip()
    out.print(f"  {printing.safe(told)}")
    for guard in run["guards"]:
        out.print(f"    {printing.colored(guard['verdict'])} {guard['guard']}: {printing.safe(guard['reason'])}")


def _service(out: Console, answer: Json) -> None:
    service = answer["service"]
    counts = printing.counts(service["instances"]) or "none known"
    out.print(f"  {printing.colored(service['state'])}; instances: {counts}")
    for edge in answer["edges"]:
        line = f"{edge['from']} calls {edge['to']} ({edge['provenance']}, trust {edge['trust']:.2f})"
        out.print(f"  {printing.safe(line)}")
