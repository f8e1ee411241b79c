"""``consulguard silence``: in amtool's words."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from consulguard.cli import contracts, doors, printing, reading, word
from consulguard.cli.options import Options
from consulguard.clock import SystemClock
from consulguard.engine.labels import LABELS
from consulguard.model import Matcher, Silence
from consulguard.plan import format_matcher, matches, parse_matcher
from consulguard.plan.duration import parse_duration

Matchers = Annotated[list[str] | None, typer.Argument(help='service=x, team=~"pay.*" ...', show_default=False)]


def add(
    options: Options,
    matchers: Matchers = None,
    author: Annotated[str | None, typer.Option("--author", "-a", help="Shown beside who you are.")] = None,
    duration: Annotated[str, typer.Option("--duration", "-d", help="How long (90s, 15m, 2h, 7d).")] = "1h",
    comment: Annotated[str, typer.Option("--comment", "-c", help="Why; everybody reads it.")] = "",
    start: Annotated[str | None, typer.Option("--start", help="Begin after this long, not now.")] = None,
) -> int:
    """Be quiet about what all matchers fit, and leave it alone. Prints the id."""
    args: dict[str, Any] = {
        "matchers": [format_matcher(m) for m in _parsed(matchers)],
        "for_s": _seconds(duration, "--duration"),
        "comment": comment,
    }
    if author:
        args["author"] = author
    if start is not None:
        args["starts_in_s"] = _seconds(start, "--start")
    answer = word.say(options, "silence", args)
    if not printing.data(options, {"id": answer["subject"], "text": answer["text"]}):
        print(answer["subject"] if options.quiet else doors.stripped(answer["text"]))
    return doors.OK


def query(
    options: Options,
    matchers: Matchers = None,
    expired: Annotated[bool, typer.Option("--expired", help="Those that are over, too.")] = False,
) -> int:
    """Silences to come and in force, those with such matchers; -q: the ids only."""
    wanted, now = _parsed(matchers), SystemClock().now()
    past = asyncio.run(reading.past(options.load()))
    known = list(past.silences.values()) if past is not None else []
    hushed = past.hushed if past is not None else {}
    told = [contracts.silence_of(s, now, hushed) for s in known if _has(s, wanted)]
    told = [s for s in told if expired or s["state"] != "expired"]
    if printing.data(options, {"silences": told}):
        return doors.OK
    out = printing.console(options)
    if options.quiet:
        for silence in told:
            print(silence["id"])
    elif told:
        columns = ("ID", "STATE", "MATCHERS", "ENDS", "INCIDENTS", "AUTHOR", "COMMENT")
        printing.table(out, columns, [_row(s) for s in told])
    else:
        out.print("No silence.")
    return doors.OK


def expire(
    options: Options,
    silences: Annotated[list[str], typer.Argument(help="Their ids, sil-...", show_default=False)],
) -> int:
    """End silences now."""
    for silence in silences:
        word.done(options, "expire", {"id": silence})
    return doors.OK


def _row(told: contracts.Json) -> tuple[object, ...]:
    shown, ends = " ".join(told["matchers"]), printing.when(told["ends_at"])
    return told["id"], told["state"], shown, ends, len(told["incidents"]), told["author"], told["comment"]


def _has(silence: Silence, wanted: list[Matcher]) -> bool:
    """As amtool: the silence's own ``name="value"`` are held against what is asked for."""
    return matches(wanted, {m.name: (m.value,) for m in silence.matchers})


def _parsed(given: list[str] | None) -> list[Matcher]:
    try:
        return [parse_matcher(text, LABELS) for text in given or ()]
    except ValueError as error:
        raise doors.UsageError(str(error), where="MATCHER") from None


def _seconds(text: str, flag: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise doors.UsageError(str(error), where=flag) from None
