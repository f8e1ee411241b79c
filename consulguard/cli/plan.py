"""``consulguard plan``: what is wrong now, why, and what would be done about it. Touches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from consulguard.app import actions
from consulguard.cli import contracts, doors, printing, reading, snapshots
from consulguard.cli.options import Options

Json = dict[str, Any]
CONSIDERED = "Also considered: "  # how sentences begin that the table of alternatives says as well
DRY_RUN = "DRY-RUN"  # at the start of every line about what would be done


def plan(
    options: Options,
    snapshot: Annotated[Path | None, typer.Option(help="Read this file instead of Consul; - is stdin.")] = None,
    save_snapshot: Annotated[Path | None, typer.Option(help="Also keep what was read in this file.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 10 when actions are pending.")
    ] = False,
) -> int:
    """Dry run: what is wrong now, why, and what would be done. Only reads."""
    read = reading.look(options, options.load(), snapshot)
    if save_snapshot is not None:
        snapshots.save(save_snapshot, read.seen)
    answer = contracts.plan_of(read.state, actions())
    if not printing.data(options, answer):
        show(printing.console(options), answer)
    if not read.state.view.trusted:
        return doors.CONSUL
    return doors.PENDING if detailed_exitcode and contracts.pending(read.state) else doors.OK


def show(out: Console, answer: Json) -> None:
    """The plan for people. Every line of something that would be done starts with DRY-RUN."""
    show_view(out, answer)
    if not answer["incidents"]:
        out.print("No incident.")
    for incident in answer["incidents"]:
        out.print()
        show_incident(out, incident)
        show_steps(out, incident)


def show_view(out: Console, answer: Json) -> None:
    """When, how much was seen, and whether to believe it."""
    view = answer["view"]
    counts = f"{view['services']} services, {view['instances']} instances, {view['nodes']} nodes"
    out.print(f"{printing.when(answer['at'])}  {counts}; {view['not_passing']} checks not passing")
    if not view["trusted"]:
        out.print(f"[red]view not trusted[/]: {printing.safe('; '.join(view['reasons']) or 'no reason given')}")


def show_incident(out: Console, incident: Json) -> None:
    """One incident: cause, evidence, members."""
    root = incident["root"]
    cause = "root cause:" if incident["known"] else "root cause not known, most likely"
    out.print(
        f"[bold]{incident['id']}[/] {printing.colored(incident['state'])}  {cause} {root['kind']} "
        f"[bold]{printing.safe(_named(root, kind=False))}[/] (confidence {incident['confidence']:.0%})"
    )
    for words in _said(incident):
        out.print(f"  {printing.safe(words)}")
    for sentence in incident["why"]:
        if not sentence.startswith(CONSIDERED):
            out.print(f"  - {printing.safe(sentence)}")
    if incident["alternatives"]:
        others = [(_named(a["root"]), f"{a['confidence']:.0%}", a["why"]) for a in incident["alternatives"]]
        printing.table(out, ("ALSO CONSIDERED", "CHANCE", "WHAT SPEAKS FOR AND AGAINST IT"), others, indent=2)
    rows = [(m["name"], m["kind"], m["role"], m["state"], printing.when(m["since"])) for m in incident["members"]]
    printing.table(out, ("MEMBER", "KIND", "ROLE", "STATE", "SINCE"), rows, indent=2)


def _named(root: Json, *, kind: bool = True) -> str:
    where = f" {root['instance']} on {root['node']}" if "instance" in root else ""
    return f"{root['kind'] if kind else ''} {root['name']}{where}".strip()


def _said(incident: Json) -> list[str]:
    """What people did to it."""
    acked, assigned = incident["acknowledged"], incident["assigned_to"]
    told = [f"acknowledged by {acked['by']} at {printing.when(acked['at'])}"] if acked else []
    told += [f"assigned to {assigned}"] if assigned else []
    for how in ("resolved_by", "reopened_by"):
        if (said := incident[how]) is not None:
            told.append(f"{how.replace('_', ' ')} {said['who']}: {said['why']}".removesuffix(": "))
    return told


def show_steps(out: Console, incident: Json, *, all_guards: bool = False) -> None:
    """What would be done, step by step, with the guards that do not allow it, or with all of them."""
    playbook = incident["playbook"]
    if playbook is None:
        out.print(f"{DRY_RUN}  nothing: no playbook matches")
        return
    mode = playbook["effective_mode"]
    lowered = f" (its own is {playbook['mode']})" if playbook["mode"] != mode else ""
    out.print(f"{DRY_RUN}  playbook {printing.safe(playbook['name'])}, mode {mode}{lowered}")
    if not incident["steps"]:
        out.print(f"{DRY_RUN}  tell people; it has no step")
    for number, step in enumerate(incident["steps"], start=1):
        name = f"{step['name']} ({step['uses']})" if step["name"] != step["uses"] else step["name"]
        verdict = printing.colored(step["verdict"])
        out.print(f"{DRY_RUN}  {number}. {verdict} {printing.safe(name)}: {printing.safe(step['would'])}")
        for guard in step["guards"]:
            if all_guards or guard["verdict"] != "ALLOW":
                reason = printing.safe(guard["reason"])
                out.print(f"{DRY_RUN}       {printing.colored(guard['verdict'])} {guard['guard']}: {reason}")
