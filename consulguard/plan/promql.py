"""Look-ups in PromQL: only inside a quoted label value, and so escaped that the value cannot leave its quotes.

PromQL's quotes follow Go: in ``"..."`` and ``'...'`` a backslash escapes, in backticks nothing does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from consulguard.plan.duration import shorten

NEAR = 64  # an operator stands right before its value
LOOKUP = re.compile(r"\$\{([^${}]*)\}")
_OPERATOR = re.compile(r"(?:^|[^=!~<>])(=~|!~|=|!=)\s*$")
_END = {"#": "\n"}  # a comment is a quote that ends with its line
_REGEX = re.compile(r"[^A-Za-z0-9_ ]")  # RE2 takes a backslash before any ASCII punctuation


class Spot(NamedTuple):
    """A look-up and where it stands. ``wrong`` is a sentence when it must not stand there."""

    start: int
    end: int
    path: str
    quote: str
    regex: bool  # the label is matched with =~ or !~
    wrong: str


def spots(text: str) -> Iterator[Spot]:
    """Every look-up of a query, in order."""
    at, quote, operator = 0, "", ""
    while at < len(text):
        found = LOOKUP.match(text, at)
        if found:
            yield Spot(at, found.end(), found[1], quote, operator.endswith("~"), _wrong(quote, operator))
            at = found.end()
        elif quote in ("'", '"') and text[at] == "\\":
            if escaped := LOOKUP.match(text, at + 1):
                yield Spot(at + 1, escaped.end(), escaped[1], quote, False, "a backslash may not stand before it")
            at = escaped.end() if escaped else at + 2
        else:
            if not quote and text[at] in "\"'`#":
                before = _OPERATOR.search(text[max(0, at - NEAR) : at])
                quote, operator = text[at], before[1] if before else ""
            elif text[at] == _END.get(quote, quote):
                quote = ""
            at += 1


def _wrong(quote: str, operator: str) -> str:
    if quote in ("", "#") or not operator:
        return 'it may only stand inside a quoted label value: {service="${target.service}"}'
    return "backticks do not escape: write the label value in double quotes" if quote == "`" else ""


def check(text: str) -> Iterator[str]:
    """What is wrong with the look-ups of a query: a sentence each."""
    for spot in spots(text):
        if spot.wrong:
            yield f"the look-up {shorten(spot.path)} in a query: {spot.wrong}"


def fill(text: str, look_up: Callable[[str], str]) -> str:
    """The query with its look-ups made. Raises LookupError, with a sentence."""
    parts, at = [], 0
    for spot in spots(text):
        if spot.wrong:
            raise LookupError(f"the look-up {shorten(spot.path)} in a query: {spot.wrong}")
        parts += [text[at : spot.start], _escaped(look_up(spot.path), spot)]
        at = spot.end
    return "".join([*parts, text[at:]])


def _escaped(value: str, spot: Spot) -> str:
    """The value as the content of its string; in a regular expression it stands for itself."""
    if spot.regex:
        value = _REGEX.sub(lambda found: "\\" + found[0] if found[0].isascii() else found[0], value)
    return value.replace("\\", "\\\\").replace(spot.quote, "\\" + spot.quote)
