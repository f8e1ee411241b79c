"""Logs in the Elastic Common Schema: our own fields stand under ``consulguard``, all others are the schema's."""

from __future__ import annotations

import os
from typing import Any

from ecs_logging import StructlogFormatter

from consulguard import __version__

THEIRS = {"event": "event", "level": "log.level", "timestamp": "@timestamp", "exception": "error.stack_trace"}


class _Flat(StructlogFormatter):
    """Without nesting ``log.level``: the logging specification wants it as one key."""

    def format_to_ecs(self, event_dict: dict[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = super().format_to_ecs(event_dict)
        log = fields.pop("log")
        first = {"@timestamp": fields.pop("@timestamp"), "log.level": log.pop("level")}
        return {**first, "message": fields.pop("message"), **fields, **({"log": log} if log else {})}


_FORMAT = _Flat()


def render(logger: Any, method: str, fields: dict[str, Any]) -> str:
    """The last processor of structlog: one line of JSON."""
    ours = {key: value for key, value in fields.items() if key not in THEIRS}
    found = {THEIRS[key]: value for key, value in fields.items() if key in THEIRS}
    found["event.action"] = str(found["event"])
    found |= {
        "event.dataset": "consulguard.log",
        "service.name": "consulguard",
        "service.version": __version__,
        "process.pid": os.getpid(),
    }
    if name := getattr(logger, "name", ""):
        found["log.logger"] = name
    if "error" in ours:
        found["error.message"] = str(ours.pop("error"))
    if ours:
        found["consulguard"] = {key: value if _simple(value) else str(value) for key, value in ours.items()}
    return _FORMAT(logger, method, found)


def _simple(value: Any) -> bool:
    """What keeps its type in Elasticsearch; anything else would be another one in each message."""
    return isinstance(value, str | bool | int | float)


__all__ = ["render"]
