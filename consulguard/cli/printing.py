"""How answers look: JSON and YAML for programs, rich tables for people; nothing from Consul can move the cursor."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML

from consulguard.cli.options import Options, Output
from consulguard.errors import ConfigError

COLORS = {
    "passing": "green", "critical": "red", "warning": "yellow", "vanished": "magenta", "unknown": "magenta",
    "maintenance": "cyan", "flapping": "yellow", "recovering": "cyan", "ALLOW": "green", "WAIT": "yellow",
    "ASK": "cyan", "DENY": "red",
}  # fmt: skip


def console(options: Options) -> Console:
    """Where people read. Plain and unwrapped when it is not a terminal."""
    tty = sys.stdout.isatty()
    return Console(no_color=not options.color, highlight=False, width=None if tty else 160, soft_wrap=not tty)


def data(options: Options, value: Any) -> bool:
    """Print for programs; False when people should get a table instead. Raises ConfigError for dot and mermaid."""
    match options.output:
        case Output.JSON:
            print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
        case Output.YAML:
            text = io.StringIO()
            YAML(typ="safe", pure=True).dump(msgspec.to_builtins(value), text)
            print(text.getvalue(), end="")
        case Output.TABLE:
            return False
        case other:
            raise ConfigError(f"-o {other.value} is only for topology; use table, json or yaml")
    return True


def safe(text: object) -> str:
    """Text from outside: without control characters, and no markup of ours."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return escape(shown)


def colored(word: str) -> str:
    color = COLORS.get(word)
    return f"[{color}]{safe(word)}[/]" if color else safe(word)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; a cell that is a known word gets its colour."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(colored(str(cell)) for cell in row))
    return shown
