"""Messages on the terminal, and the same, without ornament, in a log."""

from __future__ import annotations

import asyncio
import os
import select
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
PIECE = 1_000  # characters: at most the 4096 bytes a pipe takes whole as soon as it takes anything
LOOK_S = 0.1
_REMEMBERED = 1_000  # messages whose last version is kept, to tell only what changed
_Line = tuple[str, str]  # label, text


class ConsoleNotifier:
    """A block for a message, and a shorter one with what changed for each later version of it.

    Colour only on a terminal, and not with ``NO_COLOR``.
    """

    name = "console"

    def __init__(self, stream: TextIO | None = None, *, color: bool | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        terminal = self._stream.isatty()
        wanted = color if color is not None else not os.environ.get("NO_COLOR")
        self._fancy = terminal and wanted
        self._console = Console(file=self._stream, force_terminal=True) if self._fancy else None
        self._seen: dict[str, tuple[_Line, ...]] = {}  # key -> headline and lines of the last version written
        self._begun = False

    async def deliver(self, row: OutboxRow) -> JsonObject:
        """A reader who does not read holds up this channel only, and not for longer than a delivery may take."""
        now, last = _lines(row), self._seen.get(row.key, ())
        if now != last or row.message.thread:
            try:
                await self._write(render(row, last))
            except (OSError, ValueError) as error:  # a closed pipe, a closed stream
                raise NotifyUnavailable(f"the console cannot be written: {error}") from error
            self._remember(row.key, now)
        return {"version": row.message.version}

    async def close(self) -> None:
        """The stream is not ours to close."""

    def _remember(self, key: str, lines: tuple[_Line, ...]) -> None:
        self._seen.pop(key, None)
        self._seen[key] = lines
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    async def _write(self, block: Text) -> None:
        """In pieces that a pipe with any room takes whole: a thread that hangs in a write could never be ended."""
        text = ("\n" if self._fancy or self._begun else "") + self._text(block)
        self._begun = True
        for at in range(0, len(text), PIECE):
            while not _takes(self._stream):
                await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self._put, text[at : at + PIECE])

    def _text(self, block: Text) -> str:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        writable = block.plain.encode(encoding, "replace").decode(encoding)
        if self._console is None or writable != block.plain:
            return writable + "\n"
        with self._console.capture() as captured:
            self._console.print(block, soft_wrap=True, markup=False, emoji=False, highlight=False)
        return captured.get()

    def _put(self, piece: str) -> None:
        self._stream.write(piece)
        self._stream.flush()


def _takes(stream: TextIO) -> bool:
    """Whether a piece can be written at once. What is no file always takes it."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return bool(poll.poll(0))
    except (OSError, ValueError):  # in memory, or closed: the write will say so
        return True


def render(row: OutboxRow, last: tuple[_Line, ...] = ()) -> Text:
    """The block: time and headline, then one indented line for each thing known that ``last`` does not say."""
    message = row.message
    headline, *lines = _lines(row)
    block = Text(text.stamp(message.at) + " ", style=_PLAIN)
    block.append(headline[1], style=_STYLES.get(message.severity, _PLAIN))
    told = [*(line for line in lines if line not in last), *_thread(row)]
    for label, value in told:
        block.append("\n    ")
        if label:
            block.append(f"{label}: ", style=_LABEL)
        block.append(value)
    return block


def _lines(row: OutboxRow) -> tuple[_Line, ...]:
    """Headline and lines without the thread: what is the same in the next version need not be read again."""
    message = row.message
    context = text.context(message) if message.incident is not None else []
    return (
        ("", text.headline(message)),
        *([("", " · ".join(f"{label} {value}" for label, value in context))] if context else []),
        *(("", line) for line in text.body(message)),
        *text.fields(message),
        *(("Why", line) for line in text.evidence(message)),
    )


def _thread(row: OutboxRow) -> list[_Line]:
    return [("", f"- {line}") for line in text.thread(row.message.thread, row.skipped)]
