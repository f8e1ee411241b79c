"""The files that hold the configuration's secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consulguard.config.files import anybody_reads
from consulguard.config.load import Loaded

KINDS = ("token_file", "secret_file", "headers_file", "dsn_file", "url_file", "key_file")


def secret_files(loaded: Loaded) -> list[Path]:
    """All that are named, in order, each once."""
    named = _named(loaded.config.model_dump())
    return list(dict.fromkeys(loaded.resolve(name) for name in named))


def open_to_all(loaded: Loaded) -> list[str]:
    """A sentence for each that every user of this machine may read."""
    return [f"everybody may read {p}; run: chmod o-r {p}" for p in secret_files(loaded) if anybody_reads(p)]


def _named(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if isinstance(inner, str) and inner and str(key).endswith(KINDS):
            yield inner
        else:
            yield from _named(inner)
