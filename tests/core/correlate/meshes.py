"""Topologies and flips as evaluators write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Flip = dict[str, Any]


def mesh(calls: Mapping[str, Sequence[str]], units: int = 1, nodes: int = 4) -> dict[str, Any]:
    """Services that call each other, ``units`` instances each, spread over nodes of two zones."""
    instances = {f"{s}-{n}": s for s in calls for n in range(units)}
    return {
        "services": list(calls),
        "edges": [[caller, callee] for caller, callees in calls.items() for callee in callees],
        "instances": instances,
        "nodes": {i: f"n{n % nodes}" for n, i in enumerate(instances)},
        "zones": {f"n{n}": f"z{n % 2}" for n in range(nodes)},
        "unchecked": [],
    }


def critical(topology: Mapping[str, Any], service: str, at: float, only: str = "") -> list[Flip]:
    return _flips(topology, service, at, "critical", only)


def warning(topology: Mapping[str, Any], service: str, at: float, only: str = "") -> list[Flip]:
    return _flips(topology, service, at, "warning", only)


def passing(topology: Mapping[str, Any], service: str, at: float, only: str = "") -> list[Flip]:
    return _flips(topology, service, at, "passing", only)


def _flips(topology: Mapping[str, Any], service: str, at: float, status: str, only: str) -> list[Flip]:
    mine = [i for i, s in topology["instances"].items() if s == service and only in ("", i)]
    return [
        {"t": float(at), "service": service, "instance": i, "check": "service", "status": status} for i in mine
    ]
