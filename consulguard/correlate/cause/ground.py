"""Nodes and zones as causes: their units fail together, wherever their services belong."""

from __future__ import annotations

from math import exp, log

from consulguard.correlate.cause.callers import Callers


def node_ratio(callers: Callers, node: str) -> float:
    """Log ratio of what the node's own check and its units say, without what their callers say."""
    scene, w = callers.scene, callers.w
    if node in scene.dead:
        return w.serf  # its checks are frozen: they say nothing
    told = scene.at_node.get(node, ())
    since = min((u.onset for _, u in told), default=scene.now - 60.0)
    found, calm = w.serf_quiet, scene.layout.heard(node)
    for service, unit in told:
        calm -= service in scene.layout.units(node) and scene.layout.checked(service)
        found += log(w.node_hit * exp(unit.own) + 1 - w.node_hit)
    return found + max(calm, 0) * log(w.node_hit * callers.checks.quiet(scene.now - since) + 1 - w.node_hit)


def node_score(callers: Callers, node: str) -> float:
    return (
        callers.w.node
        - callers.w.crowd * log(callers.scene.layout.nodes)
        + node_ratio(callers, node)
        + _above(callers, [node])
    )


def zone_score(callers: Callers, zone: str) -> float:
    w = callers.w
    nodes = list(callers.scene.graph.zones()[zone])
    told = sum(log(w.zone_hit * exp(min(node_ratio(callers, n), 300.0)) + 1 - w.zone_hit) for n in nodes)
    return w.zone + told + _above(callers, nodes)


def _above(callers: Callers, nodes: list[str]) -> float:
    """What the callers of the services there say: they lean on a service as far as it is there."""
    scene = callers.scene
    here: dict[str, int] = {}
    for node in nodes:
        for service, units in scene.layout.units(node).items():
            here[service] = here.get(service, 0) + units
    sources = {
        service: here[service] / max(scene.layout.size(service), here[service], 1)
        for service in sorted(here)
        if service in scene.depth
    }
    if not sources:
        return 0.0
    tree = callers.explain(sources)
    callers.refine(tree)
    return sum(tree.edges[callers.number[s]] for s in sources)
