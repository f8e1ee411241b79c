"""Who is to blame: every hypothesis weighed against every other, and against nobody."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp
from typing import NamedTuple

from consulguard.correlate.cause import pick
from consulguard.correlate.cause.callers import Callers
from consulguard.correlate.cause.checks import Checks
from consulguard.correlate.cause.ground import Ground
from consulguard.correlate.cause.memory import NONE, Hints, Trail
from consulguard.correlate.cause.scene import Scene
from consulguard.correlate.cause.together import Entity, Hypothesis, Together
from consulguard.correlate.cause.weights import WEIGHTS, Weights
from consulguard.correlate.graph import Graph


class Suspect(NamedTuple):
    kind: str  # service, node, zone
    key: str
    chance: float


class Verdict(NamedTuple):
    suspects: tuple[Suspect, ...]  # the likeliest first
    nobody: float  # the chance that nobody is to blame
    known: bool  # False: we do not know


def suspects(
    graph: Graph, trails: Iterable[Trail], now: float, w: Weights = WEIGHTS, hints: Hints = NONE
) -> Verdict:
    scene = Scene(graph, trails, now, w, hints)
    if not scene.onset and not scene.dead:
        return Verdict((), 1.0, False)
    callers = Callers(scene, Checks(scene))
    several = Together(callers, pick.reach(callers))
    several.judge(pick.services(callers, several.reached))
    whole = several.alone()
    best = max(score for _, score in whole) if whole else 0.0
    whole += Ground(callers, several.reached).judge(pick.nodes(scene), pick.zones(scene), best)
    whole += several.pairs() + several.crowds()
    return _weigh(whole, w)


def _weigh(whole: list[Hypothesis], w: Weights) -> Verdict:
    scores = {causes[0]: score for causes, score in reversed(whole) if len(causes) == 1}
    high = max(0.0, max(s for _, s in whole))
    total = exp(-high) + sum(exp(s - high) for _, s in whole)
    chances: dict[Entity, float] = {}
    for causes, score in whole:
        for cause in causes:
            chances[cause] = chances.get(cause, 0.0) + exp(score - high) / total
    order = sorted(chances, key=lambda e: (-chances[e], -scores[e], e))
    nobody = exp(-high) / total
    found = tuple(Suspect(*e, min(chances[e], 1.0)) for e in order)
    return Verdict(found, nobody, nobody <= 1 - w.doubt)
