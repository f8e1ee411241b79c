"""Text that people will read: foreign output made harmless, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"
_SECRET = r"[\w-]*(?:token|secret|passw(?:or)?d|api[-_]?key|credential|authorization)[\w-]*"
_SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)
_PAIR = re.compile(
    rf"(?P<name>{_SECRET})(?P<sep>['\"]?\s*[=:]\s*['\"]?)(?:(?:bearer|basic)\s+)?[^\s'\"&,;]+", re.IGNORECASE
)
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a value of this name should not be shown."""
    return _SECRET_NAME.fullmatch(name.lstrip("-")) is not None


def masked(text: str, secrets: Sequence[str] = ()) -> str:
    """``name=value`` pairs that look secret, user info in addresses, and the given values: masked."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    text = _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
    return _PAIR.sub(rf"\g<name>\g<sep>{MASK}", text)


def masked_argv(argv: Sequence[str]) -> list[str]:
    """As ``masked``, and an item after ``--token`` and its like."""
    shown: list[str] = []
    hide = False
    for item in argv:
        shown.append(MASK if hide else masked(item))
        hide = item.startswith("-") and "=" not in item and is_secret(item)
    return shown


def tidy(text: str, limit: int = 300) -> str:
    """One line of printable characters, at most ``limit`` of them."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
