"""Nodes and zones as causes: their units fail together, wherever their services belong."""

from __future__ import annotations

from math import exp, log

from consulguard.correlate.cause.callers import Judge


def node_ratio(judge: Judge, node: str) -> float:
    """Log ratio of what the node's own check and its units say, without what their callers say."""
    scene, w = judge.scene, judge.w
    if node in scene.dead:
        return w.serf  # its checks are frozen: they say nothing
    told = scene.at_node.get(node, ())
    since = min((u.onset for _, u in told), default=scene.now - 60.0)
    found = w.serf_quiet
    left = dict(scene.layout.units(node))
    for service, unit in told:
        left[service] = left.get(service, 1) - 1
        found += log(w.node_hit * exp(unit.own) + 1 - w.node_hit)
    calm = log(w.node_hit * judge.quiet(scene.now - since) + 1 - w.node_hit)
    return found + calm * sum(max(n, 0) for s, n in left.items() if scene.checked(s))


def node_score(judge: Judge, node: str) -> float:
    return (
        judge.w.node
        - judge.w.crowd * log(judge.scene.layout.nodes)
        + node_ratio(judge, node)
        + _above(judge, [node])
    )


def zone_score(judge: Judge, zone: str) -> float:
    w = judge.w
    nodes = list(judge.scene.graph.zones()[zone])
    told = sum(log(w.zone_hit * exp(min(node_ratio(judge, n), 300.0)) + 1 - w.zone_hit) for n in nodes)
    return w.zone + told + _above(judge, nodes)


def _above(judge: Judge, nodes: list[str]) -> float:
    """What the callers of the services there say: they lean on a service as far as it is there."""
    scene = judge.scene
    here: dict[str, int] = {}
    for node in nodes:
        for service, units in scene.layout.units(node).items():
            here[service] = here.get(service, 0) + units
    sources: dict[str, float | None] = {}
    share: dict[str, float] = {}
    first = min((scene.dead[n] for n in nodes if n in scene.dead), default=None)
    for service in sorted(here):
        if service in scene.depth:
            size = max(scene.layout.size(service), here[service], 1)
            share[service] = 0.7 * here[service] / size
            sources[service] = scene.onset.get(service, first)
    if not sources:
        return 0.0
    tree = judge.explain(sources, share)
    return sum(tree.edges[s] for s in sources)
