"""``consulguard incident ack|assign|resolve|reopen``: what a person does to an incident."""

from __future__ import annotations

from typing import Annotated

import typer

from consulguard.cli import word
from consulguard.cli.options import Options

Id = Annotated[str, typer.Argument(help="The incident's id, inc-...", show_default=False)]


def ack(options: Options, incident: Id) -> int:
    """You look after it: no escalation, no reminder."""
    return word.done(options, "ack", {"incident": incident})


def assign(
    options: Options, incident: Id, to: Annotated[str, typer.Argument(help="Whose it is.", show_default=False)]
) -> int:
    """It is somebody's from now on."""
    return word.done(options, "assign", {"incident": incident, "to": to})


def resolve(
    options: Options,
    incident: Id,
    reason: Annotated[str, typer.Option(help="Why; needed where something of it still fails.")] = "",
) -> int:
    """Close it. What still fails stays known until it has passed."""
    return word.done(options, "resolve", {"incident": incident, "reason": reason})


def reopen(
    options: Options, incident: Id, reason: Annotated[str, typer.Option(help="Why; everybody reads it.")] = ""
) -> int:
    """Open a resolved one again."""
    return word.done(options, "reopen", {"incident": incident, "reason": reason})
