"""``consulguard incident``: what failed and what was done, from the journal, or live where there is none."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from consulguard.app import actions
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.cli.plan import show_incident, show_steps
from consulguard.engine import EngineState
from consulguard.model import IncidentState

Json = dict[str, Any]


def known(options: Options) -> EngineState:
    """What the daemon's journal holds; without one, what Consul says now."""
    loaded = options.load()
    past = asyncio.run(reading.past(loaded))
    return past if past is not None and past.at is not None else reading.look(options, loaded).state


def list_(options: Options) -> int:
    """Incidents, open ones first."""
    state = known(options)
    incidents = sorted(state.book.incidents.values(), key=lambda i: (i.resolved_at is not None, i.opened_at, i.id))
    answer = {"at": contracts.plain(state.at), "incidents": [contracts.incident_of(i) for i in incidents]}
    if not printing.data(options, answer):
        rows = [
            (
                i.id,
                i.state.value,
                f"{i.root.kind} {i.root.instance if i.root.kind == 'instance' else i.root.name}",
                f"{i.confidence:.0%}",
                printing.when(contracts.plain(i.opened_at)),
                printing.when(contracts.plain(i.resolved_at)),
            )
            for i in incidents
        ]
        out = printing.console(options)
        if rows:
            printing.table(out, ("ID", "STATE", "ROOT CAUSE", "CONFIDENCE", "OPENED", "RESOLVED"), rows)
        else:
            out.print("No incident.")
    return doors.OK


def show(
    options: Options, incident: Annotated[str, typer.Argument(help="Its id, inc-...", show_default=False)]
) -> int:
    """One incident: cause, members, evidence, plan and runs."""
    state = known(options)
    found = state.book.incidents.get(incident)
    if found is None:
        raise doors.NotFound(f"there is no incident {incident!r}; see: consulguard incident list")
    answer = contracts.incident_of(found) | contracts.planned_of(state.plans.get(found.id), actions())
    answer["runs"] = [contracts.run_of(r) for r in state.runs.values() if r.incident_id == found.id]
    if not printing.data(options, answer):
        out = printing.console(options)
        show_incident(out, answer)
        if found.state is not IncidentState.RESOLVED:
            show_steps(out, answer)
        for run in answer["runs"]:
            told = printing.safe(f"run {run['id']} of {run['playbook']}: {run['state']} {run['reason']}".rstrip())
            out.print(f"  {told}")
            for line in run["log"]:
                out.print(f"    {printing.safe(line)}")
    return doors.OK
