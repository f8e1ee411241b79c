"""pydantic as we use it for people's files: strict types, no unknown keys, one clear sentence for each error.

Configuration and playbooks share it.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from consulguard.errors import ConfigError
from consulguard.plan.duration import PATTERN, parse_duration, shorten
from consulguard.plan.yaml import Document, Path


class Strict(BaseModel):
    """Base of every model of a file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = [f.alias or name for name, f in cls.model_fields.items()]
            for key in data:
                if key not in known:
                    raise PydanticCustomError("unknown_key", "{text}", {"key": key, "text": unknown(key, known)})
        return data


def unknown(key: object, known: list[str]) -> str:
    """The sentence for a key that does not exist."""
    near = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"unknown key {shorten(str(key))}; {hint}"


def _duration(value: Any) -> float:
    try:
        return parse_duration(value)
    except ValueError as failure:
        raise PydanticCustomError("duration", "{text}", {"text": str(failure)}) from None


def _some_duration(value: Any) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise PydanticCustomError("duration", "must be longer than zero")
    return seconds


_DURATION_SCHEMA = {"type": "string", "pattern": PATTERN, "description": "a number and its unit: 90s, 15m, 2h, 7d"}
Duration = Annotated[float, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
SomeDuration = Annotated[float, BeforeValidator(_some_duration), WithJsonSchema(_DURATION_SCHEMA)]


_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _size(value: Any) -> int:
    digits, unit = (value[:-3], value[-3:]) if isinstance(value, str) else ("", "")
    if unit not in _SIZES or not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        text = shorten(value) if isinstance(value, str) else repr(value)
        raise PydanticCustomError("size", "{text} is not a size: write 512KiB, 64MiB or 1GiB", {"text": text})
    return int(digits) * _SIZES[unit]


_SIZE_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,9}(KiB|MiB|GiB)$", "description": "a number and its unit"}
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]


def format_size(value: int) -> str:
    """The shortest way to write it: the largest unit it is a whole number of."""
    unit = next((u for u in ("GiB", "MiB") if value and value % _SIZES[u] == 0), "KiB")
    return f"{value // _SIZES[unit]}{unit}"


def _share(value: Any) -> float:
    digits = value[:-1] if isinstance(value, str) and value.endswith("%") else ""
    whole, _, part = digits.partition(".")
    good = len(digits) <= 6 and whole.isascii() and whole.isdigit()
    good = good and ("." not in digits or (part.isascii() and part.isdigit()))
    if not good or float(digits) > 100:
        text = shorten(value) if isinstance(value, str) else repr(value)
        raise PydanticCustomError("share", "{text} is not a percentage: write 0% to 100%", {"text": text})
    return float(digits) / 100


Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?%$", "description": "0% to 100%"}),
]


def explain(failure: ValidationError, document: Document, error: type[ConfigError] = ConfigError) -> list[Any]:
    """Every error of a validation as an ``error`` with its line, in the order of the file."""
    found = []
    for detail in failure.errors(include_url=False):
        path: Path = tuple(detail["loc"])
        if detail["type"] == "unknown_key":
            path = (*path, detail["ctx"]["key"])
        found.append((document.line_of(path), error(_sentence(detail), where=document.where(path))))
    return [e for _, e in sorted(found, key=lambda pair: pair[0])]


_SENTENCES = {
    "missing": "this key is required",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_pattern_mismatch": "{shown} has a character or a form that is not allowed here ({pattern})",
}


def _sentence(detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "literal_error":
        return _choice(value, str(context["expected"]))
    if kind == "value_error":
        return str(context["error"])
    sentence = _SENTENCES.get(kind)
    if sentence is None:
        return detail["msg"]
    shown = shorten(value) if isinstance(value, str) else repr(value)
    return sentence.format(shown=shown, **context) + _given(kind, value)


def _given(kind: str, value: Any) -> str:
    return f", not {_shown(value)}" if kind.endswith("_type") else ""


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a mapping"
    return shorten(str(value))


def _choice(value: Any, expected: str) -> str:
    choices = [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]
    near = difflib.get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    shown = shorten(value) if isinstance(value, str) else repr(value)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{shown} is not one of {', '.join(choices)}{hint}"
