"""What every value of the table shares."""

from __future__ import annotations

from typing import Any

import msgspec

JsonObject = dict[str, Any]


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of all values: immutable, compared by content.

    A value is made from finished values, so it can never be part of a cycle: the garbage collector need not look
    (``gc=False``), which is a third of the time of a storm of 100,000 checks.
    """
