"""``consulguard approval``: what people are asked before it is done, and their answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.cli.word import user
from consulguard.config import settings
from consulguard.model import Question
from consulguard.serve import call

Id = Annotated[str, typer.Argument(help="The approval's id, or the beginning of it.", show_default=False)]


def list_(
    options: Options,
    all_: Annotated[bool, typer.Option("--all", help="Those that are decided, too.")] = False,
) -> int:
    """What waits for a person: exactly what would be done, who may say yes, and until when."""
    past = asyncio.run(reading.past(options.load()))
    questions = sorted(past.questions.values(), key=lambda q: (q.asked_at, q.id)) if past is not None else []
    shown = [q for q in questions if all_ or q.pending]
    answer = {"approvals": [contracts.approval_of(q) for q in shown]}
    if not printing.data(options, answer):
        out = printing.console(options)
        for question in shown:
            _show(out, question)
        if not shown:
            out.print("Nothing waits for an approval.")
    return doors.OK


def _show(out: Any, question: Question) -> None:
    run, told = question.run, contracts.approval_of(question)
    head = f"{question.id}  {question.state.value}  {run.playbook.id} on {run.subject.target.name}"
    out.print(printing.safe(f"{head}  ({run.incident_id})"))
    for effect in question.effects:
        out.print(printing.safe(f"  {effect.step}: {effect.action} on {effect.target.name} {effect.params}"))
    who = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in question.rule.approvers.items()) or "nobody"
    agreed = ", ".join(vote.who for vote in question.votes if vote.agrees) or "nobody yet"
    out.print(printing.safe(f"  needs {question.needed} of {who}; agreed: {agreed}"))
    out.print(f"  asked {printing.when(told['asked_at'])}, until {printing.when(told['expires_at'])}")
    if question.reason:
        out.print(printing.safe(f"  {question.reason}"))


def approve(options: Options, approval: Id) -> int:
    """Agree. The guards are asked again before anything is done."""
    return _say(options, "approve", approval)


def deny(
    options: Options,
    approval: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody reads it.")] = "",
) -> int:
    """Refuse. This playbook is not proposed for this incident again."""
    return _say(options, "deny", approval, reason=reason)


def _say(options: Options, command: str, approval: str, **more: str) -> int:
    name = user()
    return ask_daemon(options, command, {"id": approval, "users": [name], **more}, name)


def ask_daemon(options: Options, command: str, args: dict[str, Any], name: str) -> int:
    """Something only the daemon that acts can answer. A guard that is against it is exit code 6."""
    path = settings.socket_path(options.load())
    answer = asyncio.run(call(path, command, args, f"{name} (command line)", options.timeout_s))
    if answer is None:
        raise doors.NotFound("no daemon runs here: this is for the daemon that will act on it")
    if not answer["ok"]:
        raise doors.Blocked(answer["text"]) if answer["blocked"] else doors.NotFound(answer["text"])
    if not options.quiet:
        print(answer["text"])
    return doors.OK
