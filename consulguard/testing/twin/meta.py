"""What Consul accepts as service meta: the agent refuses the rest with 400, the catalog with 500."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PAIRS_MAX, _KEY_MAX, _VALUE_MAX = 64, 128, 512


def wrong_meta(meta: Mapping[str, Any] | None) -> str:
    """Consul's complaint about the first pair that is wrong, or ""."""
    if len(meta or {}) > _PAIRS_MAX:
        return f"Node metadata cannot contain more than {_PAIRS_MAX} key/value pairs"
    for key, value in (meta or {}).items():
        problem = _wrong_pair(key, str(value))
        if problem:
            return f"Couldn't load metadata pair ('{key}', '{value}'): {problem}"
    return ""


def _wrong_pair(key: str, value: str) -> str:
    if not key:
        return "Key cannot be blank"
    if not _KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > _KEY_MAX:
        return f"Key is too long (limit: {_KEY_MAX} characters)"
    if key.startswith("consul-"):
        return "Key prefix 'consul-' is reserved for internal use"
    return f"Value is too long (limit: {_VALUE_MAX} characters)" if len(value) > _VALUE_MAX else ""
