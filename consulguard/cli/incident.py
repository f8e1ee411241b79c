"""``consulguard incident``: what failed and what was done, from the journal, or live where there is none."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from consulguard.app import actions
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.cli.plan import show_incident
from consulguard.engine import EngineState
from consulguard.errors import ConfigError

Json = dict[str, Any]


def known(options: Options) -> EngineState:
    """What the daemon's journal holds; without one, what Consul says now."""
    loaded = options.load()
    past = asyncio.run(reading.past(loaded))
    return past if past is not None and past.at is not None else reading.look(options, loaded)[0]


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
                f"{i.root.kind} {i.root.name}",
                f"{i.confidence:.0%}",
                contracts.plain(i.opened_at),
            )
            for i in incidents
        ]
        printing.console(options).print(
            printing.table(("ID", "STATE", "ROOT CAUSE", "CONFIDENCE", "OPENED"), rows) if rows else "No incident."
        )
    return doors.OK


def show(
    options: Options, incident: Annotated[str, typer.Argument(help="Its id, inc-...", show_default=False)]
) -> int:
    """One incident: cause, members, evidence, plan and runs."""
    state = known(options)
    found = state.book.incidents.get(incident)
    if found is None:
        raise ConfigError(f"there is no incident {incident!r}; see: consulguard incident list")
    answer = contracts.incident_of(found) | contracts.planned_of(state.plans.get(found.id), actions())
    answer["runs"] = [contracts.run_of(r) for r in state.runs.values() if r.incident_id == found.id]
    if not printing.data(options, answer):
        out = printing.console(options)
        show_incident(out, answer)
        for run in answer["runs"]:
            out.print(f"  {run['id']} {printing.colored(run['state'])} {printing.safe(run['reason'])}")
            for line in run["log"]:
                out.print(f"    {printing.safe(line)}")
    return doors.OK
