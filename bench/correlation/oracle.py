"""The ceiling: the engine's own likelihood, told what no ranker can know.

It is asked with the true edges instead of those that are shown, each with its true strength as trust, and told how
often the mesh's checks blip, how many of them see what, and how long faults take to show.
"""

from __future__ import annotations

from math import prod
from statistics import fmean
from typing import Any

from consulguard.correlate import Graph, suspects
from consulguard.correlate.cause.weights import WEIGHTS, Weights
from consulguard.model import EdgeFact, EdgesFact, Target
from consulguard.testing.ranking import facts_of, name_of, trails_of

from bench.correlation.simulate import Case
from bench.correlation.state import Ranking
from bench.correlation.world import World

_MOST = 20
_graphs: dict[str, tuple[World, Graph]] = {}


def oracle(case: Case) -> Ranking:
    assert case.world is not None
    trails = trails_of(case.topology, case.events, case.now)
    verdict = suspects(_graph(case.world), trails, case.now, _told(case.world))
    return [(name_of(s), s.chance) for s in verdict.suspects[:_MOST]] if verdict.known else []


def _told(mesh: World) -> Weights:
    """What the engine believes of all meshes, as it is in this one."""
    checked = [checks for checks in mesh.checks.values() if checks]
    every = [check for checks in checked for check in checks]
    shows = fmean(c.every_s * max(c.failures_before_critical - 0.5, 0.5) + c.ttl_s for c in every)
    return WEIGHTS._replace(
        leans=((1.0, 0.5), (1.0, 0.3), (1.0, 0.2)),  # as far as the edge is strong, whichever way
        noise_rate=mesh.noise_rate,
        sees_own=fmean(1 - prod(1 - c.own for c in checks) for checks in checked),
        sees_deps=fmean(1 - prod(1 - c.deps for c in checks) for checks in checked),
        delay_s=shows + fmean(edge.delay_s for edge in mesh.edges.values()),
    )


def _graph(mesh: World) -> Graph:
    known = _graphs.get(mesh.id)
    if known is None or known[0] is not mesh:
        bare: dict[str, Any] = {**mesh.topology, "edges": []}
        edges = tuple(
            EdgeFact(source=_target(a), destination=_target(b), provenance="declared", trust=edge.strength)
            for (a, b), edge in mesh.edges.items()
        )
        facts = facts_of(bare)
        at = facts[-1].at
        graph = Graph()
        graph.learn([*facts[:-1], EdgesFact(source="declared", edges=edges, at=at)])
        known = _graphs[mesh.id] = (mesh, graph)
    return known[1]


def _target(service: str) -> Target:
    return Target(dc="dc1", service=service)
