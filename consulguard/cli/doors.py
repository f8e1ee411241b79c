"""How a verb ends: exit codes, one clear sentence for every error a person can cause, and where logs go."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog
import typer

from consulguard.errors import BadAnswer, ConsulguardError, StoreCorrupt, StoreUnavailable

OK, FAILURE, USAGE, LINT, EXPECTATION, CONSUL, BLOCKED, PENDING = 0, 1, 2, 3, 4, 5, 6, 10
STORE, CONFIG, INTERRUPTED = 74, 78, 130


def finish(values: dict[str, Any], run: Callable[[], int | None]) -> None:
    """Run a verb and leave with its exit code."""
    set_up_logs(str(values["log_level"]), str(values["log_format"]), bool(values["verbose"]))
    try:
        code = run() or OK
    except ConsulguardError as error:
        print(f"consulguard: {error}", file=sys.stderr)
        code = STORE if isinstance(error, (StoreUnavailable, StoreCorrupt)) else error.exit_code
        code = CONSUL if isinstance(error, BadAnswer) else code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone; nothing is left to say
        code = OK
    raise typer.Exit(code)


def set_up_logs(level: str, style: str, verbose: bool) -> None:
    """Logs go to stderr: stdout belongs to what was asked for."""
    wanted = logging.DEBUG if verbose else logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(wanted),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
