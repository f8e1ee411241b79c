"""``consulguard topology``: the dependency graph with health and provenance, or the state machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consulguard import correlate, health
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options, Output

LEVELS = ("check", "instance", "service", "node")


def topology(
    options: Options,
    service: Annotated[str | None, typer.Argument(help="Only this service and its neighbours.")] = None,
    fsm: Annotated[bool, typer.Option("--fsm", help="Print the state machines instead.")] = False,
    snapshot: Annotated[Path | None, typer.Option(help="Read this file instead of Consul; - is stdin.")] = None,
) -> int:
    """The dependency graph: who calls whom, how we know, and how each one is."""
    if fsm:
        for level in LEVELS:
            print(health.to_mermaid(level))
        return doors.OK
    state = reading.look(options, options.load(), snapshot).state
    if service is not None and service not in {s["name"] for s in contracts.topology_of(state)["services"]}:
        raise doors.NotFound(f"Consul knows no service {service!r}; see: consulguard topology")
    troubles = health.troubles(state.health)
    graph = correlate.topology(state.book, troubles, service)
    if options.output is Output.DOT:
        print(_lines(correlate.to_dot(graph)))
    elif options.output is Output.MERMAID:
        print(_lines(correlate.to_mermaid(graph)))
    elif not printing.data(options, contracts.topology_of(state, service)):
        _tables(options, contracts.topology_of(state, service))
    return doors.OK if state.view.trusted else doors.CONSUL


def _lines(text: str) -> str:
    return "\n".join(doors.stripped(line) for line in text.rstrip("\n").split("\n"))


def _tables(options: Options, told: contracts.Json) -> None:
    out = printing.console(options)
    rows = [(s["name"], s["kind"], s["state"], printing.counts(s["instances"])) for s in told["services"]]
    printing.table(out, ("SERVICE", "KIND", "STATE", "INSTANCES"), rows)
    out.print()
    edges = [(e["from"], e["to"], e["provenance"], f"{e['trust']:.2f}") for e in told["edges"]]
    printing.table(out, ("FROM", "TO", "PROVENANCE", "TRUST"), edges)
