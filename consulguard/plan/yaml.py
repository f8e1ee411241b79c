"""A strict reader of poor YAML: plain JSON data and the line of every value, or one clear sentence.

It reads ruamel.yaml's events one by one, so every limit is checked before anything is built. What makes YAML
surprising is refused rather than interpreted: anchors, aliases, merge keys, tags, directives, several documents,
duplicate keys, keys that are not text. Plain scalars follow the YAML 1.2 core schema (``on`` and ``12:30`` are
text), except that numbers with leading zeros, NaN and infinities are refused. Playbooks and configuration use it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from consulguard.errors import ConfigError
from consulguard.model import JsonObject
from consulguard.plan.duration import shorten

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 10_000  # scalars, lists and mappings together
MAX_DIGITS = 18
MAX_COLUMN = 4096  # of one line: the reader's look-ahead is quadratic beyond any real file

Path = tuple[str | int, ...]

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def path_text(path: Path) -> str:
    """``steps[0].with.reason``"""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Document:
    """What a file said, and where it said it."""

    source: str
    data: JsonObject
    lines: dict[Path, int] = field(repr=False)

    def line_of(self, path: Path) -> int:
        """The line (from 1) of the value at ``path``, or of the nearest thing around it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def where(self, path: Path) -> str:
        """``file:line: key.path``, as errors name it."""
        place = f"{self.source}:{self.line_of(path)}"
        return f"{place}: {path_text(path)}" if path else place


def load_yaml(text: str, source: str, *, error: type[ConfigError] = ConfigError) -> Document:
    """Read one document whose top is a non-empty mapping.

    Raises ``error`` with ``where`` = ``source:line: key.path`` and one sentence. Never anything else.
    """
    reader = _Reader(source, error)
    reader.check_text(text)
    try:
        for event in _events(text):
            reader.take(event)
    except MarkedYAMLError as failure:
        line = failure.problem_mark.line if failure.problem_mark else 0
        reader.fail(f"this is not valid YAML: {_sentence(failure.problem)}; check indent, colons and quotes", line)
    except (YAMLError, ValueError, OverflowError, AssertionError) as failure:
        reader.fail(f"this is not valid YAML: {_sentence(str(failure))}", reader.line)
    if not isinstance(reader.root, dict) or not reader.root:
        reader.fail("the file must hold a mapping (key: value) and must not be empty", 0)
    return Document(source=source, data=reader.root, lines=reader.lines)


def _events(text: str) -> Iterator[Event]:
    yaml = YAML(typ="safe", pure=True)
    yield from yaml.parse(text)


def _sentence(problem: str | None) -> str:
    """A library's message on one printable line."""
    flat = " ".join((problem or "cannot be read").split())
    return "".join(c if c.isprintable() else "?" for c in flat)[:200]


@dataclass(slots=True)
class _Frame:
    """A list or mapping being filled."""

    into: Any
    path: Path
    key: str | None = None  # a mapping's key that waits for its value


class _Reader:
    """Builds the data from events; knows the limits."""

    def __init__(self, source: str, error: type[ConfigError]) -> None:
        self.source = source
        self.error = error
        self.root: Any = None
        self.lines: dict[Path, int] = {(): 1}
        self.line = 0
        self.stack: list[_Frame] = []
        self.documents = 0
        self.nodes = 0

    def fail(self, sentence: str, line: int | None = None, path: Path | None = None) -> NoReturn:
        shown = path_text(self._here() if path is None else path)
        place = f"{self.source}:{(self.line if line is None else line) + 1}"
        raise self.error(sentence, where=f"{place}: {shown}" if shown else place)

    def check_text(self, text: str) -> None:
        """Size and characters, before any parsing."""
        if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            self.fail(f"the file is larger than {MAX_BYTES // 1024} KiB: split it", 0)
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n")):
            bad = _hidden(line.removesuffix("\r"), allowed="\t")
            if bad:
                self.fail(f"the invisible character {bad} is not allowed: remove it", number)
            if line.startswith("%"):
                self.fail("directives (%...) are not allowed: remove the line", number)
            if len(line) > MAX_COLUMN:
                self.fail(f"the line is longer than {MAX_COLUMN} characters: break it", number)

    def take(self, event: Event) -> None:
        self.line = event.start_mark.line
        if isinstance(event, AliasEvent):
            self.fail("aliases (*name) are not allowed: write the value out")
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.fail("a second document (---) is not allowed: use one file for each")
        elif isinstance(event, ScalarEvent):
            self._plain_node(event)
            self._scalar(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._plain_node(event)
            self._open({} if isinstance(event, MappingStartEvent) else [])
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self.stack.pop()

    def _plain_node(self, event: Any) -> None:
        if event.anchor is not None:
            self.fail("anchors (&name) are not allowed: write the value out where it is needed")
        if event.tag is not None:
            self.fail(
                f"tags ({_sentence(str(event.tag))}) are not allowed: write plain text, numbers or true/false"
            )
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.fail(f"the file has more than {MAX_NODES} values: split it")

    def _open(self, into: Any) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self.fail(f"lists and mappings are nested deeper than {MAX_DEPTH}: flatten them")
        if self._wants_key():
            self.fail("a key must be plain text, not a list or mapping")
        self.stack.append(_Frame(into, self._place(into)))

    def _scalar(self, event: ScalarEvent) -> None:
        block = event.style in ("|", ">")
        if self._wants_key():
            self._key(event)
            return
        bad = _hidden(event.value, allowed="\n\t" if block else "")
        if bad:
            hint = "; write text of several lines as a block (|)" if bad in ("U+000A", "U+0009") else ""
            self.fail(f"the character {bad} is not allowed in a value{hint}", path=self._next())
        self._place(event.value if event.style else self._resolve(event.value))

    def _key(self, event: ScalarEvent) -> None:
        frame = self.stack[-1]
        if event.value == "<<":
            self.fail("merge keys (<<) are not allowed: write the keys out")
        if not event.style and not isinstance(self._resolve(event.value), str):
            self.fail(f"the key {shorten(event.value)} is not text: put it in quotes or choose another")
        if not event.value or _hidden(event.value, allowed=""):
            self.fail(f"the key {shorten(event.value)} is empty or has invisible characters: choose another")
        path = (*frame.path, event.value)
        if event.value in frame.into:
            self.fail(f"the key stands twice, first on line {self.lines[path]}: keep one", path=path)
        frame.key = event.value
        self.lines[path] = self.line + 1

    def _wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].into, dict) and self.stack[-1].key is None

    def _next(self) -> Path:
        """The path of the value that comes now."""
        if not self.stack:
            return ()
        frame = self.stack[-1]
        return (*frame.path, len(frame.into) if frame.key is None else frame.key)

    def _here(self) -> Path:
        if not self.stack:
            return ()
        return self._next() if self.stack[-1].key is not None else self.stack[-1].path

    def _place(self, value: Any) -> Path:
        """Put a value where it belongs; returns its path."""
        path = self._next()
        if not self.stack:
            self.root = value
            return path
        frame = self.stack[-1]
        if frame.key is None:
            frame.into.append(value)
            self.lines[path] = self.line + 1
        else:
            frame.into[frame.key] = value
            frame.key = None
        return path

    def _resolve(self, text: str) -> Any:
        """A plain scalar's value by the YAML 1.2 core schema."""
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text) or _BASED.fullmatch(text):
            return self._integer(text)
        if _NOT_FINITE.fullmatch(text):
            self.fail(f"{text} is not a usable number", path=self._next())
        if _FLOAT.fullmatch(text):
            return self._float(text)
        return text

    def _integer(self, text: str) -> int:
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
            self.fail(
                f"{shorten(text)} starts with a zero, which YAML versions read differently: drop it or use quotes",
                path=self._next(),
            )
        if len(digits) > MAX_DIGITS:
            self.fail(f"the number has more than {MAX_DIGITS} digits", path=self._next())
        return int(text, 0)

    def _float(self, text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            self.fail(f"{shorten(text)} is too large a number", path=self._next())
        return number


def _hidden(text: str, *, allowed: str) -> str:
    """The first control, format or surrogate character as ``U+XXXX``, or an empty string."""
    if text.isprintable():
        return ""
    for char in text:
        if char not in allowed and unicodedata.category(char) in ("Cc", "Cf", "Cs"):
            return f"U+{ord(char):04X}"
    return ""
