"""``consulguard pause`` and ``resume``: stop acting, keep watching and telling."""

from __future__ import annotations

import asyncio
import getpass
import os
from typing import Annotated, Any

import typer

from consulguard.app import offline
from consulguard.cli import doors
from consulguard.cli.options import Options
from consulguard.config import settings
from consulguard.plan.duration import parse_duration
from consulguard.serve import call


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
    return say(options, "stop" if stop else "pause", args, f"paused: {reason}")


def resume(
    options: Options,
    reason: Annotated[str | None, typer.Option(help="Lift only the pauses with this reason.")] = None,
) -> int:
    """Lift every pause, or those with one reason; while another is left, all stays paused."""
    if reason is None:
        return say(options, "resume", {}, "resumed")
    return say(options, "resume", {"reason": reason}, f"no longer paused: {reason}")


def say(options: Options, command: str, args: dict[str, Any], done: str) -> int:
    """To the daemon where one listens, else straight into the journal for the next one to read."""
    loaded = options.load()
    who = f"{user()} (command line)"
    answer = asyncio.run(call(settings.socket_path(loaded), command, args, who, options.timeout_s))
    if answer is None:
        asyncio.run(offline.command(loaded, command, args, who))
        done += " (no daemon runs here; the next one will obey)"
    elif not answer["ok"]:
        raise doors.Blocked(answer["text"]) if answer["blocked"] else doors.NotFound(answer["text"])
    if not options.quiet:
        print(done)
    return doors.OK


def user() -> str:
    """Who gives the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no entry
        return f"user {os.getuid()}"
