"""Nodes and zones as causes: their units fail together, wherever their services belong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import exp, log

from consulguard.correlate.cause.callers import MANY, Callers
from consulguard.correlate.cause.stories import Entity, Story
from consulguard.correlate.cause.together import HOPELESS


def node_ratio(callers: Callers, node: str, since: float) -> float:
    """Log ratio of what the node's own checks and its units say, without what their callers say; ``since`` it is
    sick, if it is and nothing there has shown it yet.
    """
    scene, w = callers.scene, callers.w
    if node in scene.dead:
        return w.serf  # its checks are frozen: they say nothing
    told = scene.at_node.get(node, ())
    since = min((u.onset for _, u in told), default=since)
    found, calm = w.serf_quiet + scene.ill.get(node, 0.0), scene.layout.heard(node)
    for service, unit in told:
        calm -= service in scene.layout.units(node) and scene.layout.told(service).prompt
        found += log(w.node_hit * exp(unit.own) + 1 - w.node_hit)
    return found + max(calm, 0) * log(w.node_hit * callers.checks.quiet(scene.now - since) + 1 - w.node_hit)


class Ground:
    """Judges places, ``reached`` being what fails above each service."""

    def __init__(self, callers: Callers, reached: list[int]) -> None:
        self.callers, self.w, self.scene, self.reached = callers, callers.w, callers.scene, reached

    def judge(self, nodes: Iterable[str], zones: Iterable[str], best: float) -> Iterator[Story]:
        """Places that may be nearly as good as the ``best`` of services. Zones first: they outdo their nodes."""
        for zone in zones:
            every = sorted(self.scene.graph.zones()[zone])
            since = min(map(self.scene.sick_since, every))
            ratios = [node_ratio(self.callers, n, since) for n in every]
            told = sum(log(self.w.zone_hit * exp(min(r, 300.0)) + 1 - self.w.zone_hit) for r in ratios)
            if (story := self._story(("zone", zone), self.w.zone + told, every, best)) is not None:
                best = max(best, story.score)
                yield story
        prior = self.w.node - self.callers.noise
        for node in nodes:
            told = node_ratio(self.callers, node, self.scene.now)
            if (story := self._story(("node", node), prior + told, [node], best)) is not None:
                best = max(best, story.score)
                yield story

    def _story(self, place: Entity, told: float, nodes: list[str], best: float) -> Story | None:
        """With what the callers of the services there say: they lean on a service as far as it is there."""
        scene, number = self.scene, self.callers.number
        here: dict[str, int] = {}
        for node in nodes:
            for service, units in scene.layout.units(node).items():
                if service in number:
                    here[service] = here.get(service, 0) + units
        if not self._can_score(here, best - 2 * HOPELESS - told):
            return None
        if not here:
            return Story((place,), told)
        parts = {s: here[s] / max(scene.layout.told(s).size, here[s], 1) for s in sorted(here)}
        tree = self.callers.explain(parts)
        score = told + sum(tree.edges(number[s]) for s in parts)
        return Story((place,), score, tree.touches(), tree)

    def _can_score(self, here: Iterable[str], least: float) -> bool:
        """Whether the callers of these services can say as much."""
        sources = [self.callers.number[service] for service in here]
        bits = own = 0
        if len(sources) < MANY:  # else their tree is full
            for n in sources:
                bits |= self.reached[n]
                own |= 1 << n
        return self.callers.can_say(bits & ~own, least, self.callers.leaning)
