"""Whether one cause could bring the other down: only that is worth considering beside it."""

from __future__ import annotations

from collections.abc import Iterable

from consulguard.correlate.cause.stories import Entity
from consulguard.correlate.graph import Graph

_DOWN = 3  # calls


def related(graph: Graph, one: Entity, other: Entity) -> bool:
    """Of two services, whether one calls the other, over some calls; of a service and a place, whether it or what
    it calls stands there; of two places, whether they share a node.
    """
    places = [entity for entity in (one, other) if entity[0] != "service"]
    services = [key for kind, key in (one, other) if kind == "service"]
    if not services:
        return not set(_nodes(graph, one)).isdisjoint(_nodes(graph, other))
    reached = _reached(graph, services[0])
    if not places:
        return services[1] in reached or services[0] in _reached(graph, services[1])
    return any(not reached.isdisjoint(graph.units(node)) for node in _nodes(graph, places[0]))


def _nodes(graph: Graph, place: Entity) -> Iterable[str]:
    kind, key = place
    return [key] if kind == "node" else graph.zones().get(key, ())


def _reached(graph: Graph, service: str) -> set[str]:
    """The service and what it calls."""
    found, ring = {service}, [service]
    for _ in range(_DOWN):
        ring = [callee for caller in ring for callee in graph.callees(caller) if callee not in found]
        found.update(ring)
    return found
