"""A person's word to the daemon, or, where none runs, into the journal for the next one to obey."""

from __future__ import annotations

import asyncio
import getpass
import os
from typing import Any

from consulguard.cli import doors, printing
from consulguard.cli.options import Options
from consulguard.config import Loaded, settings
from consulguard.serve import call

NOBODY = " (no daemon runs here; the next one will obey)"


def say(options: Options, command: str, args: dict[str, Any]) -> dict[str, Any]:
    """The engine's answer. Raises NotFound with what it says when it is a no, Blocked when they may not."""
    loaded, who = options.load(), f"{user()} (command line)"
    answer = asyncio.run(call(settings.socket_path(loaded), command, args, who, options.timeout_s))
    if answer is None:
        answer = _offline(loaded, command, args, who)
        answer["text"] += NOBODY if answer["ok"] else ""
    if not answer["ok"]:
        raise doors.Blocked(answer["text"]) if answer["blocked"] else doors.NotFound(answer["text"])
    return answer


def _offline(loaded: Loaded, command: str, args: dict[str, Any], who: str) -> dict[str, Any]:
    from consulguard.app import offline  # all that a daemon has: heavy, and only where none runs
    from consulguard.app.desk import told

    return told(asyncio.run(offline.command(loaded, command, args, who)))


def done(options: Options, command: str, args: dict[str, Any]) -> int:
    """``say``, and tell the answer."""
    answer = say(options, command, args)
    told = {key: answer[key] for key in ("ok", "text", "subject")}
    if not printing.data(options, told) and not options.quiet:
        print(doors.stripped(answer["text"]))
    return doors.OK


def user() -> str:
    """Who gives the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no entry
        return f"user {os.getuid()}"
