"""``consulguard status``: is it well? Live from Consul, with an exit code for Nagios."""

from __future__ import annotations

from typing import Annotated

import typer

from consulguard import correlate, health
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.engine import EngineState
from consulguard.errors import ConfigError, ConsulguardError

NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN = 0, 1, 2, 3
_CRITICAL = ("critical", "vanished")


def status(
    options: Options,
    service: Annotated[str | None, typer.Argument(help="Only this service.")] = None,
    nagios: Annotated[bool, typer.Option("--nagios", help="One line, exit code 0/1/2/3.")] = False,
) -> int:
    """How the mesh, or one service, is now."""
    try:
        state, _ = reading.look(options, options.load())
        answer = _answer(state, service)
    except ConsulguardError as error:
        if not nagios:
            raise
        print(f"UNKNOWN - {error}")
        return NAGIOS_UNKNOWN
    if nagios:
        return _nagios(answer)
    if not printing.data(options, answer):
        _table(options, answer)
    return doors.OK if state.view.trusted else doors.CONSUL


def _answer(state: EngineState, service: str | None) -> contracts.Json:
    topology = correlate.topology(state.book, health.troubles(state.health), None)
    services = contracts.plain(topology)["services"]
    if service is not None:
        services = [s for s in services if s["name"] == service]
        if not services:
            raise ConfigError(f"Consul knows no service {service!r}; see: consulguard topology")
    incidents = [contracts.incident_of(i) for i in correlate.open_incidents(state.book)]
    if service is not None:
        incidents = [i for i in incidents if any(m["name"] == service for m in i["members"])]
    return {
        "at": contracts.plain(state.at),
        "view": contracts.view_of(state),
        "paused": [contracts.plain(p) for p in state.pauses],
        "storm": {"on": state.storm.on, "reason": state.storm.reason},
        "services": services if service is not None else [s for s in services if s["state"] != "passing"],
        "incidents": incidents,
    }


def _nagios(answer: contracts.Json) -> int:
    bad = [s["name"] for s in answer["services"] if s["state"] in _CRITICAL]
    odd = [s["name"] for s in answer["services"] if s["state"] not in (*_CRITICAL, "passing", "maintenance")]
    if not answer["view"]["trusted"]:
        print(f"UNKNOWN - view not trusted: {'; '.join(answer['view']['reasons'])}")
        return NAGIOS_UNKNOWN
    counts = f"|services={answer['view']['services']} not_passing={answer['view']['not_passing']}"
    if bad:
        print(f"CRITICAL - {', '.join(sorted(bad))}{counts}")
        return NAGIOS_CRITICAL
    if odd:
        print(f"WARNING - {', '.join(sorted(odd))}{counts}")
        return NAGIOS_WARNING
    print(f"OK - all passing{counts}")
    return NAGIOS_OK


def _table(options: Options, answer: contracts.Json) -> None:
    out = printing.console(options)
    view = answer["view"]
    trusted = "trusted" if view["trusted"] else f"[red]not trusted[/]: {printing.safe('; '.join(view['reasons']))}"
    out.print(f"{view['services']} services, {view['instances']} instances, {view['nodes']} nodes; view {trusted}")
    for pause in answer["paused"]:
        out.print(f"[yellow]paused[/] by {printing.safe(pause['who'])}: {printing.safe(pause['why'])}")
    if answer["storm"]["on"]:
        out.print(f"[red]storm brake on[/]: {printing.safe(answer['storm']['reason'])}")
    if not answer["services"]:
        out.print("All services pass.")
        return
    rows = [
        (s["name"], s["state"], ", ".join(f"{n} {k}" for k, n in s["instances"].items()))
        for s in answer["services"]
    ]
    out.print(printing.table(("SERVICE", "STATE", "INSTANCES"), rows))
    for incident in answer["incidents"]:
        root = incident["root"]
        out.print(
            f"{incident['id']} {printing.colored(incident['state'])} root cause: {printing.safe(root['name'])}"
        )
