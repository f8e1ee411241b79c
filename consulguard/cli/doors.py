"""How a verb ends: exit codes, one clear sentence for every error a person can cause, and where logs go.

Imported by every verb, the quickest ones too: nothing heavy at the top.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from consulguard.errors import BadAnswer, ConfigError, ConsulguardError, StoreCorrupt, StoreUnavailable

OK, FAILURE, USAGE, LINT, EXPECTATION, CONSUL, BLOCKED, PENDING = 0, 1, 2, 3, 4, 5, 6, 10
STORE, CONFIG, INTERRUPTED = 74, 78, 130


class UsageError(ConfigError):
    """The command line itself is wrong."""

    exit_code = USAGE


class NotFound(ConsulguardError):
    """What was asked for does not exist."""

    exit_code = FAILURE


class Blocked(ConsulguardError):
    """A guard is against it."""

    exit_code = BLOCKED


def finish(values: dict[str, Any], run: Callable[[], int | None]) -> None:
    """Run a verb and leave with its exit code."""
    set_up_logs(str(values["log_level"]), str(values["log_format"]), bool(values["verbose"]))
    try:
        code = run() or OK
        sys.stdout.flush()
    except ConsulguardError as error:
        print(f"consulguard: {stripped(error)}", file=sys.stderr)
        code = STORE if isinstance(error, (StoreUnavailable, StoreCorrupt)) else error.exit_code
        code = CONSUL if isinstance(error, BadAnswer) else code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = _nobody_listens()
    raise typer.Exit(code)


def _nobody_listens() -> int:
    """Whoever read us has gone; what is still in the buffer goes nowhere, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def stripped(text: object) -> str:
    """Text from outside on one line: what could move the cursor, or hide or turn letters, is shown as U+FFFD."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def _printer(name: str = "") -> Any:
    """A logger on the stderr of the moment that knows its name."""
    import structlog

    logger = structlog.PrintLogger(sys.stderr)
    logger.name = name  # type: ignore[attr-defined]
    return logger


def set_up_logs(level: str, style: str, verbose: bool) -> None:
    """Logs go to stderr: stdout belongs to what was asked for."""
    import structlog

    wanted = logging.DEBUG if verbose else logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "text":
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        renderer = structlog.dev.ConsoleRenderer(colors=colors)
    elif style == "ecs":
        from consulguard.cli import ecs

        renderer = ecs.render
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(wanted),
        logger_factory=_printer,
    )
