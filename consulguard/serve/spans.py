"""What a trace is made of, as values: finished spans, and where they go."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

Attribute = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Span:
    """Something that is over. Its ids follow from ``trace`` and ``key``: on every replica, and in every life."""

    trace: str  # the incident's id: one trace for each
    key: str  # unique within the trace
    parent: str = ""  # the key of the span it belongs to; empty: it is the trace's root
    name: str
    start: datetime
    end: datetime
    outward: bool = False  # something outside was called
    failed: bool = False
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def trace_id(self) -> int:
        return _number(f"consulguard/{self.trace}", 16)

    @property
    def span_id(self) -> int:
        return span_id(self.trace, self.key)

    @property
    def parent_id(self) -> int:
        """0: none."""
        return span_id(self.trace, self.parent) if self.parent else 0


def span_id(trace: str, key: str) -> int:
    return _number(f"consulguard/{trace}/{key}", 8)


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1  # 0 is no id


@dataclass(frozen=True, kw_only=True)
class TraceSettings:
    """Where spans go. ``headers`` is asked for each batch; None: what the environment says."""

    endpoint: str  # the whole URL
    ca_file: str = ""  # PEM; empty: the environment's, else the system's
    sample_ratio: float = 1.0  # of the traces
    headers: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False)
