"""How answers look: JSON and YAML for programs, text for people; nothing from Consul moves the cursor."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from ruamel.yaml import YAML

from consulguard.cli.doors import UsageError, stripped
from consulguard.cli.options import Options, Output

COLORS = {
    "passing": "green", "critical": "red", "warning": "yellow", "vanished": "magenta", "unknown": "magenta",
    "maintenance": "cyan", "flapping": "yellow", "recovering": "cyan", "ALLOW": "green", "WAIT": "yellow",
    "ASK": "cyan", "DENY": "red", "disabled": "red",
}  # fmt: skip


class Screen(Console):
    """A reader that has gone is the door's affair (doors.py), not an exit code of rich's."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(options: Options) -> Console:
    """Where people read. Plain and never wrapped when it is not a terminal."""
    tty = sys.stdout.isatty()
    return Screen(no_color=not options.color, highlight=False, width=None if tty else 100_000, soft_wrap=not tty)


def data(options: Options, value: Any) -> bool:
    """Print for programs; False when people should get text instead. Raises UsageError for dot and mermaid."""
    match options.output:
        case Output.JSON:
            text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
            print(re.sub(r"[^\n]", _escaped, text) if not _plain(text) else text)
        case Output.YAML:
            print(_yaml(msgspec.to_builtins(value)), end="")
        case Output.TABLE:
            return False
        case other:
            raise UsageError(f"-o {other.value} is only for topology; use table, json or yaml")
    return True


def _plain(text: str) -> bool:
    return text.replace("\n", "").isprintable()


def _escaped(found: re.Match[str]) -> str:
    """What a terminal might obey, as JSON writes it for programs: the value stays the same."""
    char = found[0]
    if char.isprintable():
        return char
    return "".join(f"\\u{unit:04x}" for unit in memoryview(char.encode("utf-16-le")).cast("H"))


def _yaml(value: Any) -> str:
    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 10_000
    yaml.dump(value, text)
    if not _plain(text.getvalue()):
        yaml.allow_unicode = False
        text = io.StringIO()
        yaml.dump(value, text)
    return text.getvalue()


def safe(text: object) -> str:
    """Text from outside: without control characters, and no markup of ours."""
    return escape(stripped(text))


def colored(word: str) -> str:
    color = COLORS.get(word)
    return f"[{color}]{safe(word)}[/]" if color else safe(word)


def when(time: str | None) -> str:
    """A contract's time, to the second."""
    return re.sub(r"\.\d+", "", time or "")


def counts(instances: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in instances.items())


def table(out: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], indent: int = 0) -> None:
    """Columns; a cell that is a known word gets its colour. One line for each row unless it is a terminal."""
    cells = [[str(cell) for cell in row] for row in rows]
    if out.is_terminal:
        shown = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            shown.add_column(column, overflow="fold")
        for row in cells:
            shown.add_row(*(colored(cell) for cell in row))
        out.print(Padding(shown, (0, 0, 0, indent), expand=False))
        return
    lines = [list(columns), *([stripped(cell) for cell in row] for row in cells)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        out.print(" " * indent + "  ".join(padded).rstrip(), markup=False)
