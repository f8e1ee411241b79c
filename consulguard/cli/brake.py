"""``consulguard pause`` and ``resume``: stop acting, keep watching and telling."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from consulguard.cli import doors, word
from consulguard.cli.options import Options
from consulguard.plan.duration import parse_duration


def pause(
    options: Options,
    reason: Annotated[str, typer.Option(help="Why; everybody reads it.")],
    for_: Annotated[str | None, typer.Option("--for", help="End by itself after this long (15m, 2h).")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Also stop a run between its steps.")] = False,
) -> int:
    """No new run starts; one that runs ends its step and verifies."""
    args: dict[str, Any] = {"reason": reason}
    if for_ is not None:
        try:
            args["for_s"] = parse_duration(for_)
        except ValueError as error:
            raise doors.UsageError(str(error), where="--for") from None
    return word.done(options, "stop" if stop else "pause", args)


def resume(
    options: Options,
    reason: Annotated[str | None, typer.Option(help="Lift only the pauses with this reason.")] = None,
) -> int:
    """Lift every pause, or those with one reason; while another is left, all stays paused."""
    if reason is None:
        return word.done(options, "resume", {})
    return word.done(options, "resume", {"reason": reason})
