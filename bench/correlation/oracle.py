"""The ceiling: the engine's own likelihood, told what no ranker can know.

It is asked with the true edges instead of those that are shown, each with its true strength as trust, so that
nothing of how callers lean on what they call is left to be guessed.
"""

from __future__ import annotations

from typing import Any

from consulguard.correlate import Graph, suspects
from consulguard.correlate.cause.weights import WEIGHTS
from consulguard.model import EdgeFact, EdgesFact, Target
from consulguard.testing.ranking import facts_of, name_of, trails_of

from bench.correlation.simulate import Case
from bench.correlation.state import Ranking
from bench.correlation.world import World

_TOLD = WEIGHTS._replace(leans=((1.0, 1.0),))
_MOST = 20
_graphs: dict[str, tuple[World, Graph]] = {}


def oracle(case: Case) -> Ranking:
    assert case.world is not None
    verdict = suspects(_graph(case.world), trails_of(case.topology, case.events, case.now), case.now, _TOLD)
    return [(name_of(s), s.chance) for s in verdict.suspects[:_MOST]] if verdict.known else []


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
