"""``consulguard plan``: what is wrong now, why, and what would be done about it. Touches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from consulguard.app import actions
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options

Json = dict[str, Any]


def plan(
    options: Options,
    snapshot: Annotated[Path | None, typer.Option(help="Read this file instead of Consul.")] = None,
    save_snapshot: Annotated[Path | None, typer.Option(help="Also keep what was read in this file.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 10 when actions are pending.")
    ] = False,
) -> int:
    """Dry run: what is wrong now, why, and what would be done. Only reads."""
    loaded = options.load()
    state, events = reading.look(options, loaded, snapshot)
    if save_snapshot is not None:
        reading.save_snapshot(save_snapshot, events)
    answer = contracts.plan_of(state, actions())
    if not printing.data(options, answer):
        show(printing.console(options), answer)
    if not state.view.trusted:
        return doors.CONSUL
    return doors.PENDING if detailed_exitcode and contracts.pending(state) else doors.OK


def show(console: Console, answer: Json) -> None:
    """The plan for people. Every line of something that would be done starts with DRY-RUN."""
    view = answer["view"]
    counts = f"{view['services']} services, {view['instances']} instances, {view['nodes']} nodes"
    console.print(f"{counts}; {view['not_passing']} not passing")
    if not view["trusted"]:
        console.print(f"[red]view not trusted[/]: {printing.safe('; '.join(view['reasons']))}")
    if not answer["incidents"]:
        console.print("No incident.")
    for incident in answer["incidents"]:
        console.print()
        show_incident(console, incident)


def show_incident(console: Console, incident: Json) -> None:
    """One incident: cause, members, evidence, and the steps with their verdicts."""
    root = incident["root"]
    where = f" {root['instance']} on {root['node']}" if "instance" in root else ""
    console.print(
        f"[bold]{incident['id']}[/] {printing.colored(incident['state'])}  root cause: {root['kind']} "
        f"[bold]{printing.safe(root['name'] + where)}[/] ({incident['confidence']:.0%})"
    )
    for sentence in incident["why"]:
        console.print(f"  because {printing.safe(sentence)}")
    rows = [(m["name"], m["kind"], m["role"], m["state"], m["since"]) for m in incident["members"]]
    console.print(
        printing.table(("  MEMBER", "KIND", "ROLE", "STATE", "SINCE"), [(f"  {r[0]}", *r[1:]) for r in rows])
    )
    show_steps(console, incident)


def show_steps(console: Console, incident: Json) -> None:
    """What would be done, step by step, with the guards that do not allow it."""
    playbook = incident["playbook"]
    if playbook is None:
        console.print("  DRY-RUN no playbook matches")
        for considered in incident["considered"]:
            console.print(f"    {printing.safe(considered['playbook'])}: {printing.safe(considered['because'])}")
        return
    console.print(f"  DRY-RUN playbook {printing.safe(playbook['name'])}, mode {playbook['effective_mode']}")
    for step in incident["steps"]:
        verdict = printing.colored(step["verdict"])
        console.print(f"  DRY-RUN {verdict} {printing.safe(step['name'])}: {printing.safe(step['would'])}")
        for guard in step["guards"]:
            if guard["verdict"] != "ALLOW":
                reason = printing.safe(guard["reason"])
                console.print(f"            {printing.colored(guard['verdict'])} {guard['guard']}: {reason}")
