"""The console: readable on a terminal and in a log, and deaf to what names try to do to it."""

from __future__ import annotations

import io
import os

import msgspec
import pytest
from consulguard.errors import NotifyUnavailable
from consulguard.model import Message, OutboxRow
from consulguard.notify import ConsoleNotifier, text
from consulguard.notify.console import render
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import START, incident, message


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def row(told: Message, skipped: int = 0) -> OutboxRow:
    return OutboxRow(channel="console", key=told.key, rev=1, message=told, skipped=skipped)


def sample() -> Message:
    told = message(title="pay-api: root cause (3 affected)", thread=("drain: done", "restart: done"))
    return msgspec.structs.replace(
        told, incident=incident(), facts=(("Playbook", "restart (auto)"),), text="DRY-RUN\nnothing was done"
    )


async def test_a_block_in_a_log() -> None:
    out = io.StringIO()
    assert await ConsoleNotifier(out).deliver(row(sample(), skipped=2)) == {"version": 1}
    assert out.getvalue().splitlines() == [
        "2026-01-01 12:00:01Z [CRITICAL] pay-api: root cause (3 affected)",
        "    State open · Severity critical · Datacenter dc1 · Since 2026-01-01 12:00:00Z · Id INC-7",
        "    DRY-RUN",
        "    nothing was done",
        "    Root cause: service pay-api (92% sure)",
        "    Affected: checkout, cart, frontend",
        "    Playbook: restart (auto)",
        "    Why: 2 of 2 instances of pay-api are critical",
        "    Why: checkout calls it and failed 3 s later",
        "    - (2 earlier lines left out)",
        "    - drain: done",
        "    - restart: done",
    ]


async def test_a_later_version_tells_only_what_changed() -> None:
    out = io.StringIO()
    channel = ConsoleNotifier(out)
    first = msgspec.structs.replace(sample(), thread=(), text="")
    await channel.deliver(row(first))
    size = len(out.getvalue())
    await channel.deliver(row(msgspec.structs.replace(first, version=2)))
    assert len(out.getvalue()) == size  # a version that reads the same
    later = msgspec.structs.replace(first, facts=(("Playbook", "restart"),), thread=("drain: done",))
    await channel.deliver(row(later))
    assert out.getvalue()[size:].splitlines() == [
        "",
        "2026-01-01 12:00:01Z [CRITICAL] pay-api: root cause (3 affected)",
        "    Playbook: restart",
        "    - drain: done",
    ]


async def test_colour_on_a_terminal_only_and_not_against_the_will(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    await ConsoleNotifier(out).deliver(row(sample()))
    assert "\x1b[" in out.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    for notifier_out, color in ((Terminal(), None), (Terminal(), False), (io.StringIO(), True)):
        await ConsoleNotifier(notifier_out, color=color).deliver(row(sample()))
        assert "\x1b" not in notifier_out.getvalue()


async def test_markup_in_a_name_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    await ConsoleNotifier(out).deliver(row(message(title="[bold]x[/bold] :bomb: [link=http://e]y[/link]")))
    assert "[bold]x[/bold] :bomb: [link=http://e]y[/link]" in out.getvalue()


@given(st.text(max_size=200), st.text(alphabet="\x1b\x00\r\n\x9b\u202e\u200d\ufeff\ud800ab[", max_size=60))
def test_no_control_character_reaches_the_stream(one: str, two: str) -> None:
    told = Message(
        key="k",
        version=1,
        severity=two,
        title=one,
        at=START,
        incident=incident(two, (one, two)),
        facts=((one, two),),
        thread=(two, one),
        text=two,
    )
    lines = render(row(told)).plain.split("\n")
    for line in lines:
        assert text.clean(line.strip(), 10_000) == line.strip()
        assert not any(c in line for c in "\x1b\x00\r\x9b\u202e\u200d\ufeff\ud800")
    assert all(line.startswith("    ") for line in lines[1:])  # nothing can pass for a block of its own


async def test_letters_the_stream_cannot_write_become_marks() -> None:
    class AsciiTerminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    for kind in (io.TextIOWrapper, AsciiTerminal):
        stream = kind(io.BytesIO(), encoding="ascii", write_through=True)
        await ConsoleNotifier(stream).deliver(row(message(title="zahlung-ü")))
        stream.seek(0)
        assert "zahlung-?" in stream.read()


async def test_a_closed_pipe_is_said_not_raised_through() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    with pytest.raises(NotifyUnavailable):
        await ConsoleNotifier(stream).deliver(row(message()))
    with pytest.raises(BrokenPipeError):
        stream.close()
