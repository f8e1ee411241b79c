"""The part of Consul's ``?filter=`` language that consulguard and its tests use.

``==  !=  in  not in  contains  not contains  is empty  is not empty  matches  not matches``, joined with
``and``, ``or``, ``not`` and parentheses. A row is anything that has been turned into JSON's own types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]
Test = Callable[[Row], bool]

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|==|!=|\(|\)|[^\s()=!"`]+)')


class BadFilter(ValueError):
    """Consul answers 500 with this text."""


def compile_filter(text: str, selectors: frozenset[str]) -> Test:
    """``selectors`` are the top-level fields that may be asked for; BadFilter for others and for bad grammar."""
    parser = _Parser(list(_tokens(text)), selectors)
    test = parser.either()
    if parser.tokens:
        raise BadFilter(f"Failed to create boolean expression evaluator: unexpected {parser.tokens[0]!r}")
    return test


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if not found:
            raise BadFilter(f"Failed to create boolean expression evaluator: no match found at {at}")
        yield found[1]
        at = found.end()


class _Parser:
    def __init__(self, tokens: list[str], selectors: frozenset[str]) -> None:
        self.tokens = tokens
        self._selectors = selectors

    def either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return lambda row: any(test(row) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        if self._take("not"):
            inner = self._one()
            return lambda row: not inner(row)
        if self._take("("):
            inner = self.either()
            if not self._take(")"):
                raise BadFilter("Failed to create boolean expression evaluator: no closing parenthesis")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        left = self._next()
        if self._take("is"):
            wanted = not self._take("not")
            if not self._take("empty"):
                raise BadFilter("Failed to create boolean expression evaluator: only empty may follow is")
            selected = self._selector(left)
            return lambda row: (not selected(row)) == wanted
        positive = not self._take("not")
        operator, right = self._next(), self._next()
        if operator == "in":  # the value stands to the left, the list to the right
            left, right = right, left
        selected, value = self._selector(left), _literal(right)
        test = _OPERATORS.get(operator)
        if test is None:
            raise BadFilter(f"Failed to create boolean expression evaluator: unknown operator {operator!r}")
        return lambda row: test(selected(row), value) == positive

    def _selector(self, text: str) -> Callable[[Row], Any]:
        path = text.split(".")
        if path[0] not in self._selectors:
            raise BadFilter(f'Failed to create boolean expression evaluator: Selector "{text}" is not valid')

        def select(row: Row) -> Any:
            value: Any = row
            for part in path:
                value = value.get(part) if isinstance(value, Mapping) else None
            return value

        return select

    def _take(self, word: str) -> bool:
        if self.tokens and self.tokens[0] == word:
            del self.tokens[0]
            return True
        return False

    def _next(self) -> str:
        if not self.tokens:
            raise BadFilter("Failed to create boolean expression evaluator: the expression ends too early")
        return self.tokens.pop(0)


def _literal(token: str) -> str:
    if token[0] == '"':
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    return token[1:-1] if token[0] == "`" else token


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str("" if value is None else value)


_OPERATORS: dict[str, Callable[[Any, str], bool]] = {
    "==": lambda left, right: _text(left) == right,
    "!=": lambda left, right: _text(left) != right,
    "in": lambda left, right: right in (left or ()),
    "contains": lambda left, right: right in (left or ()),
    "matches": lambda left, right: re.search(right, _text(left)) is not None,
}
