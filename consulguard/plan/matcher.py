"""Matchers in Alertmanager's notation: ``name="x"``, ``!=``, ``=~``, ``!~``.

Regular expressions are RE2 (linear time), anchored at both ends; the dot also matches a line break, because check
outputs have them. A label with several values (tag, check) satisfies ``=`` and ``=~`` if any value does, and
``!=`` and ``!~`` if none does. A label that is missing has the empty value.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import re2

from consulguard.model import Matcher
from consulguard.plan.duration import shorten

LABELS = (
    "service",
    "instance",
    "node",
    "zone",
    "datacenter",
    "partition",
    "namespace",
    "peer",
    "kind",
    "tag",
    "check",
    "output",
    "role",
    "scope",
    "state",
)
MULTI = frozenset(("tag", "check"))
META = "meta."
MAX_PATTERN = 1024

_SHAPE = re.compile(r"""([^\s=!~"'{},]+)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([A-Za-z0-9._:/@%+*-]*))""", re.S)
_ESCAPE = re.compile(r"\\(.)", re.S)
_LITERALS = re.compile(r"\(?([\w-]+(?:\|[\w-]+)*)\)?")


def parse_matcher(text: str, known: Sequence[str] = LABELS) -> Matcher:
    """``service=~"pay-.*"`` as a Matcher. ``known``: the labels there are, besides ``meta.*``.

    Raises ValueError with a sentence if the notation, the label or the pattern is wrong.
    """
    found = _SHAPE.fullmatch(text.strip())
    if not found:
        raise ValueError(f'{shorten(text)} is not a matcher: write label="value", or with !=, =~, !~')
    name, op, quoted, bare = found.groups()
    value = _ESCAPE.sub(_unescape, quoted) if quoted is not None else bare
    check_label(name, known)
    if "${" in value or "{{" in value:
        raise ValueError(f"{shorten(text)} has a look-up; a matcher must be fixed text")
    if op in ("=~", "!~"):
        _check_pattern(value)
    return Matcher(name=name, op=op, value=value)


def check_label(name: str, known: Sequence[str] = LABELS) -> None:
    """Raises ValueError if there is no such label."""
    if name in known or (name.startswith(META) and len(name) > len(META)):
        return
    near = difflib.get_close_matches(name, known, n=1)
    page = "playbooks.md" if known is LABELS else "silences.md"
    hint = f"did you mean {near[0]}?" if near else f"see docs/{page} for the label set"
    raise ValueError(f"there is no label {shorten(name)}: {hint}")


def _unescape(found: re.Match[str]) -> str:
    """Alertmanager's rule: an escape it does not know stays as written, so ``\\.`` is fine in a pattern."""
    return {"n": "\n", '"': '"', "\\": "\\"}.get(found[1], found[0])


def _check_pattern(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the pattern is longer than {MAX_PATTERN} characters")
    try:
        compiled(pattern)
    except re2.error as failure:
        reason = failure.args[0] if failure.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{shorten(pattern)} is not a regular expression of RE2 ({text})") from None


@functools.lru_cache(maxsize=2048)
def compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


def format_matcher(matcher: Matcher) -> str:
    """The notation again; ``parse_matcher`` gives back an equal matcher."""
    value = matcher.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{matcher.name}{matcher.op}"{value}"'


def fits(pattern: str, value: str) -> bool:
    """Does the whole of ``value`` match."""
    return compiled(pattern).fullmatch(value.encode("utf-8", "replace").decode()) is not None


def holds(matcher: Matcher, values: Iterable[str]) -> bool:
    """Is the matcher true of a label with these values (none is the same as one empty value)."""
    present = tuple(values) or ("",)
    if matcher.op in ("=", "!="):
        any_fits = matcher.value in present
    else:
        any_fits = any(fits(matcher.value, value) for value in present)
    return any_fits == (matcher.op in ("=", "=~"))


def matches(matchers: Iterable[Matcher], labels: Mapping[str, tuple[str, ...]]) -> bool:
    """Are all matchers true of these labels."""
    return all(holds(matcher, labels.get(matcher.name, ())) for matcher in matchers)


def named_values(matcher: Matcher) -> tuple[str, ...] | None:
    """The only values that satisfy the matcher, where its text says so; None where it does not."""
    if matcher.op == "=":
        return (matcher.value,)
    if matcher.op == "=~":
        found = _LITERALS.fullmatch(matcher.value)
        if found and matcher.value.startswith("(") == matcher.value.endswith(")"):
            return tuple(found[1].split("|"))
    return None
