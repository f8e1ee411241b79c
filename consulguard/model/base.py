"""What every value of the table shares."""

from __future__ import annotations

from typing import Any

import msgspec

JsonObject = dict[str, Any]


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all values: immutable, compared by content."""
