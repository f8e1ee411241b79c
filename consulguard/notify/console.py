"""Messages on the terminal, and the same, without ornament, in a log."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TextIO

from rich.console import Console
from rich.style import Style
from rich.text import Text

from consulguard.errors import NotifyUnavailable
from consulguard.model import JsonObject, OutboxRow
from consulguard.notify import text

_STYLES = {
    "critical": Style(color="red", bold=True),
    "warning": Style(color="yellow", bold=True),
    "resolved": Style(color="green", bold=True),
}
_PLAIN = Style()
_LABEL = Style(dim=True)


class ConsoleNotifier:
    """One block per version of a message. Colour only on a terminal, and not with ``NO_COLOR``."""

    name = "console"

    def __init__(self, stream: TextIO | None = None, *, color: bool | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        terminal = self._stream.isatty()
        wanted = color if color is not None else not os.environ.get("NO_COLOR")
        self._fancy = terminal and wanted
        self._console = Console(file=self._stream, force_terminal=True) if self._fancy else None

    async def deliver(self, row: OutboxRow) -> JsonObject:
        """Written by a thread: a reader who does not read holds up this channel only."""
        block = render(row)
        try:
            await asyncio.to_thread(self._write, block)
        except (OSError, ValueError) as error:  # a closed pipe, a closed stream
            raise NotifyUnavailable(f"the console cannot be written: {error}") from error
        return {"version": row.message.version}

    async def close(self) -> None:
        """The stream is not ours to close."""

    def _write(self, block: Text) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        writable = block.plain.encode(encoding, "replace").decode(encoding)
        if self._console is not None and writable == block.plain:
            self._console.print(block, soft_wrap=True, markup=False, emoji=False, highlight=False)
        else:
            self._stream.write(writable + "\n")
        self._stream.flush()


def render(row: OutboxRow) -> Text:
    """The block: time and headline, then one indented line for each thing known."""
    message = row.message
    block = Text(text.stamp(message.at) + " ", style=_PLAIN)
    block.append(text.headline(message), style=_STYLES.get(message.severity, _PLAIN))
    _line(block, "", " · ".join(f"{label} {value}" for label, value in text.context(message)))
    for line in text.body(message):
        _line(block, "", line)
    for label, value in text.fields(message):
        _line(block, label, value)
    for line in text.evidence(message):
        _line(block, "Why", line)
    for line in text.thread(message.thread, row.skipped):
        _line(block, "", f"- {line}")
    return block


def _line(block: Text, label: str, value: str) -> None:
    block.append("\n    ")
    if label:
        block.append(f"{label}: ", style=_LABEL)
    block.append(value)
