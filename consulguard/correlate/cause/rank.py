"""Who is to blame: every hypothesis weighed against every other, and against nobody."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, expm1, inf, log1p
from typing import NamedTuple

from consulguard.correlate.cause import pick
from consulguard.correlate.cause.callers import Callers
from consulguard.correlate.cause.checks import Checks
from consulguard.correlate.cause.ground import Ground
from consulguard.correlate.cause.memory import NONE, Hints, Trail
from consulguard.correlate.cause.scene import Scene
from consulguard.correlate.cause.stories import Entity, Sets, Story
from consulguard.correlate.cause.together import Together
from consulguard.correlate.cause.trail import either
from consulguard.correlate.cause.weights import WEIGHTS, Weights
from consulguard.correlate.graph import Graph

_TELLING = 1e-4  # chance of a story from which what else is at fault is told


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
    best = max((story.score for story in whole), default=0.0)
    whole += Ground(callers, several.reached).judge(pick.nodes(scene), pick.zones(scene), best)
    whole += several.pairs()
    return _weigh(whole, callers)


def _weigh(whole: list[Story], callers: Callers) -> Verdict:
    w = callers.w
    first = w.service - w.second  # log: the first fault is that much rarer than one more
    sets = Sets([story.score - first for story in whole], [story.touches for story in whole])
    whole_of = sets.all()
    total = first + whole_of + log1p(exp(-whole_of) * expm1(-first))
    scores: dict[Entity, float] = {}
    chances: dict[Entity, float] = {}
    for n, story in enumerate(whole):
        told = first + sets.with_(n)
        chance = exp(told - (total if sets.kept(n) else either(total, told)))
        for cause in story.causes:
            chances[cause] = chances.get(cause, 0.0) + chance
            scores[cause] = max(scores.get(cause, story.score), story.score)
        if story.tree is not None and chance > _TELLING:
            for service, part in callers.besides(story.tree).items():
                cause = "service", callers.names[service]
                chances[cause] = chances.get(cause, 0.0) + chance * part
                scores.setdefault(cause, -inf)
    order = sorted(chances, key=lambda e: (-chances[e], -scores[e], e))
    nobody = exp(-total)
    found = tuple(Suspect(*e, min(chances[e], 1.0)) for e in order)
    return Verdict(found, nobody, nobody <= 1 - w.doubt)
