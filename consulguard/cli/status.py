"""``consulguard status``: is it well? Live from Consul, with an exit code for Nagios."""

from __future__ import annotations

from typing import Annotated

import typer

from consulguard import correlate
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.cli.plan import show_view
from consulguard.engine import EngineState
from consulguard.errors import ConsulguardError
from consulguard.model import Pause

NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN = 0, 1, 2, 3
_CRITICAL = ("critical", "vanished")


def status(
    options: Options,
    service: Annotated[str | None, typer.Argument(help="Only this service.")] = None,
    nagios: Annotated[bool, typer.Option("--nagios", help="One line, exit code 0/1/2/3.")] = False,
) -> int:
    """How the mesh, or one service, is now."""
    try:
        state = reading.look(options, options.load()).state
        answer = _answer(state, service)
    except ConsulguardError as error:
        if not nagios:
            raise
        print(f"UNKNOWN - {_told(str(error))}")
        return NAGIOS_UNKNOWN
    if nagios:
        return _nagios(answer)
    if not printing.data(options, answer):
        _table(options, answer)
    if not state.view.trusted:
        return doors.CONSUL
    return doors.BLOCKED if answer["paused"] else doors.OK


def _answer(state: EngineState, service: str | None) -> contracts.Json:
    services = contracts.topology_of(state)["services"]
    if service is not None:
        services = [s for s in services if s["name"] == service]
        if not services:
            raise doors.NotFound(f"Consul knows no service {service!r}; see: consulguard topology")
    incidents = [contracts.incident_of(i) for i in correlate.open_incidents(state.book)]
    if service is not None:
        incidents = [i for i in incidents if any(m["name"] == service for m in i["members"])]
    return {
        "at": contracts.plain(state.at),
        "view": contracts.view_of(state),
        "paused": [pause_of(p) for p in state.pauses if p.until is None or state.at is None or p.until > state.at],
        "storm": {"on": state.storm.on, "reason": state.storm.reason},
        "services": services if service is not None else [s for s in services if s["state"] != "passing"],
        "incidents": incidents,
    }


def pause_of(pause: Pause) -> contracts.Json:
    told = {"who": pause.who, "why": pause.why, "since": contracts.plain(pause.since), "depth": pause.depth}
    return told | {"until": contracts.plain(pause.until)}


def _nagios(answer: contracts.Json) -> int:
    bad = [s["name"] for s in answer["services"] if s["state"] in _CRITICAL]
    odd = [s["name"] for s in answer["services"] if s["state"] not in (*_CRITICAL, "passing", "maintenance")]
    if not answer["view"]["trusted"]:
        print(f"UNKNOWN - view not trusted: {_told('; '.join(answer['view']['reasons']))}")
        return NAGIOS_UNKNOWN
    counts = f"|services={answer['view']['services']} not_passing={answer['view']['not_passing']}"
    if bad:
        print(f"CRITICAL - {_told(', '.join(sorted(bad)))}{counts}")
        return NAGIOS_CRITICAL
    if odd:
        print(f"WARNING - {_told(', '.join(sorted(odd)))}{counts}")
        return NAGIOS_WARNING
    if answer["paused"]:
        print(f"WARNING - paused: {_told('; '.join(p['why'] for p in answer['paused']))}{counts}")
        return NAGIOS_WARNING
    print(f"OK - all passing{counts}")
    return NAGIOS_OK


def _told(text: str) -> str:
    """On one line, without the bar that begins the figures."""
    return doors.stripped(text).replace("|", "/")


def _table(options: Options, answer: contracts.Json) -> None:
    out = printing.console(options)
    show_view(out, answer)
    for pause in answer["paused"]:
        until = f" until {printing.when(pause['until'])}" if pause.get("until") else ""
        who = printing.safe(f"{pause['who']}: {pause['why']}")
        out.print(f"[yellow]paused[/] ({pause['depth']}){until} since {printing.when(pause['since'])} by {who}")
    if answer["storm"]["on"]:
        out.print(f"[red]storm brake on[/]: {printing.safe(answer['storm']['reason'])}")
    if not answer["services"]:
        out.print("All services pass.")
        return
    rows = [(s["name"], s["state"], printing.counts(s["instances"])) for s in answer["services"]]
    printing.table(out, ("SERVICE", "STATE", "INSTANCES"), rows)
    for incident in answer["incidents"]:
        root = incident["root"]
        cause = printing.safe(f"{root['kind']} {root.get('instance') or root['name']}")
        out.print(f"{incident['id']} {printing.colored(incident['state'])}  root cause: {cause}")
