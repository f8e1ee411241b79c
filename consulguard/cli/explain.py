"""``consulguard explain``: every matcher, guard and state that decided, for and against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consulguard import correlate
from consulguard.app import actions
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.cli.plan import show_incident
from consulguard.engine import EngineState
from consulguard.errors import ConfigError
from consulguard.model import Incident

Json = contracts.Json


def explain(
    options: Options,
    subject: Annotated[
        str, typer.Argument(help="A service, an incident (inc-...) or a playbook.", show_default=False)
    ],
    snapshot: Annotated[Path | None, typer.Option(help="Read this file instead of Consul.")] = None,
) -> int:
    """Why: for a service its state and incidents, for an incident every guard, for a playbook every match."""
    loaded = options.load()
    state, _ = reading.look(options, loaded, snapshot)
    answer = _answer(state, subject)
    if not printing.data(options, answer):
        _show(printing.console(options), answer)
    return doors.OK if state.view.trusted else doors.CONSUL


def _answer(state: EngineState, subject: str) -> Json:
    incidents = correlate.open_incidents(state.book)
    for incident in incidents:
        if incident.id == subject:
            return _about(state, "incident", subject, [incident])
    if any(p.id == subject for p in state.playbooks):
        return _about(state, "playbook", subject, incidents) | {"playbook": _playbook(state, subject)}
    topology = contracts.topology_of(state)
    found = next((s for s in topology["services"] if s["name"] == subject), None)
    if found is None:
        raise ConfigError(f"{subject!r} is no service, open incident or playbook; see: consulguard topology")
    concerned = [i for i in incidents if subject == i.root.name or any(m.name == subject for m in i.members)]
    concerned = concerned or [i for i in incidents if any(m.target.service == subject for m in i.members)]
    edges = [e for e in topology["edges"] if subject in (e["from"], e["to"])]
    return _about(state, "service", subject, concerned) | {"service": found, "edges": edges}


def _about(state: EngineState, kind: str, subject: str, incidents: list[Incident]) -> Json:
    known = actions()
    return {
        "at": contracts.plain(state.at),
        "view": contracts.view_of(state),
        "kind": kind,
        "subject": subject,
        "incidents": [
            contracts.incident_of(i) | contracts.planned_of(state.plans.get(i.id), known) for i in incidents
        ],
    }


def _playbook(state: EngineState, name: str) -> Json:
    told: Json = contracts.plain(next(p for p in state.playbooks if p.id == name))
    return told


def _show(out: Console, answer: Json) -> None:
    out.print(f"[bold]{printing.safe(answer['subject'])}[/] ({answer['kind']})")
    if answer["kind"] == "service":
        service = answer["service"]
        counts = ", ".join(f"{n} {k}" for k, n in service["instances"].items())
        out.print(f"state {printing.colored(service['state'])}; instances: {counts or 'none known'}")
        for edge in answer["edges"]:
            line = f"{edge['from']} calls {edge['to']} ({edge['provenance']}, trust {edge['trust']:.2f})"
            out.print(f"  {printing.safe(line)}")
    if not answer["incidents"]:
        out.print("No open incident concerns it.")
    for incident in answer["incidents"]:
        out.print()
        show_incident(out, incident)
        _reasons(out, incident)


def _reasons(out: Console, incident: Json) -> None:
    """What was for and against: playbooks considered, and every guard of every step."""
    for considered in incident["considered"]:
        mark = "+" if considered["matched"] else "-"
        out.print(
            f"  {mark} playbook {printing.safe(considered['playbook'])}: {printing.safe(considered['because'])}"
        )
    for step in incident["steps"]:
        out.print(f"  step {printing.safe(step['name'])} ({printing.safe(step['uses'])})")
        rows = [(f"    {g['guard']}", g["verdict"], g["reason"]) for g in step["guards"]]
        out.print(printing.table(("    GUARD", "VERDICT", "REASON"), rows))
