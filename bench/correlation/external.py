"""Cases that are not shipped, in the same form: ``topologies/*.json[.gz]`` and ``cases/*.jsonl[.gz]``.

A topologies file holds {id: topology}; a line of a cases file {name, topology_id, now, events, truth}, with truth
{kind, root_services, root_nodes, root_zones[, direct_callers_failing]}. Each cases file is a group of its own.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.correlation.simulate import Case


def load(folder: Path) -> Iterator[tuple[str, Case]]:
    """(group, case)."""
    topologies: dict[str, Any] = {}
    for path in sorted((folder / "topologies").glob("*.json*")):
        topologies.update(json.loads(_read(path)))
    for path in sorted((folder / "cases").glob("*.jsonl*")):
        for line in _read(path).splitlines():
            made = json.loads(line)
            yield path.name.partition(".")[0], _case(made, topologies[made["topology_id"]])


def _read(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


def _case(made: dict[str, Any], topology: dict[str, Any]) -> Case:
    truth = made["truth"]
    roots = [r for key in ("root_services", "root_nodes", "root_zones") for r in truth.get(key, ())]
    return Case(
        name=made["name"],
        mesh=made["topology_id"].partition(".")[0],
        kind=truth["kind"],
        topology=topology,
        events=made["events"],
        now=made["now"],
        truth=frozenset(roots),
        callers_failing=truth.get("direct_callers_failing"),
    )
