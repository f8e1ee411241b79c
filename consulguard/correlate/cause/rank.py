"""Who is to blame: every hypothesis weighed against every other, and against nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from math import exp, inf, log
from typing import NamedTuple

from consulguard.correlate.cause.callers import Judge
from consulguard.correlate.cause.ground import node_score, zone_score
from consulguard.correlate.cause.memory import NONE, Hints, Trail
from consulguard.correlate.cause.scene import Scene
from consulguard.correlate.cause.weights import WEIGHTS, Weights
from consulguard.correlate.graph import Graph

_SERVICES = 40  # judged in full
_VISITS = 1200  # of services in trees of callers: in a storm the most promising are judged, not all
_NODES = 12
_ZONES = 3
_FIRSTS, _SECONDS = 5, 12  # of pairs
_CROWD = 4  # of which three or more may be at fault together
_EVEN = 1e-9  # log
_HOPELESS = 7.0  # log: a pair that even apart falls this short of the best is not judged


Entity = tuple[str, str]  # kind, key
Scores = dict[Entity, float]
Hypothesis = tuple[tuple[Entity, ...], float]


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
    judge = Judge(scene)
    scores: Scores = {}
    touched: dict[Entity, frozenset[str]] = {}
    spent = 0
    for service in _services(scene):
        entity = ("service", service)
        scores[entity], touched[entity] = _service(judge, service)
        spent += len(touched[entity])
        if spent > _VISITS:
            break
    scores.update({("node", n): node_score(judge, n) for n in _nodes(scene)})
    scores.update({("zone", z): zone_score(judge, z) for z in _zones(scene)})
    whole: list[Hypothesis] = [((e,), s) for e, s in scores.items()]
    whole += _pairs(judge, scores, touched)
    whole += _crowds(judge, scores, touched)
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


def _prior(judge: Judge) -> float:
    """A fault is about as likely in a small mesh as in a large one; in which service is anybody's guess."""
    return judge.w.service - judge.w.crowd * log(judge.scene.layout.services)


def _service(judge: Judge, service: str) -> tuple[float, frozenset[str]]:
    """Its score, and whom its story touches."""
    since = _since(judge, service)
    tree = judge.explain({service: since})
    return _prior(judge) + _itself(judge, service, since) + tree.edges[service], frozenset(tree.order)


def _itself(judge: Judge, service: str, since: float | None) -> float:
    """What its own checks say, and that it was changed."""
    return judge.seen(service, True, since) + judge.w.changed * judge.scene.changed(service, since)


def _since(judge: Judge, service: str) -> float | None:
    scene = judge.scene
    if service in scene.onset:
        return scene.onset[service]
    callers = [scene.onset[c] for c, _ in scene.told(service) if c in scene.onset]
    return min(callers, default=None)


def _services(scene: Scene) -> list[str]:
    """The most promising: failing ones, and those many of whose callers fail."""
    worth = {}
    for service, below in scene.depth.items():
        failing = sum(c in scene.onset for c, _ in scene.told(service))
        quiet = sum(scene.calm(service).values())
        worth[service] = 2 * (service in scene.onset) + failing - 0.02 * quiet - 0.3 * below
    size = scene.layout.size
    order = sorted(worth, key=lambda s: (-worth[s], scene.onset.get(s, inf), -len(scene.told(s)), size(s), s))
    return order[:_SERVICES]


def _nodes(scene: Scene) -> list[str]:
    if scene.layout.hosts < 2:
        return list(scene.dead)  # on a single node everything fails there: that says nothing of the node
    failing = {n: sum(max(u.own, u.deps) > 0 for _, u in told) for n, told in scene.at_node.items() if n}
    worth = {n: k for n, k in failing.items() if k >= 2 or (k and sum(scene.layout.units(n).values()) == 1)}
    worth.update({n: worth.get(n, 0) + 50 for n in scene.dead})
    return sorted(worth, key=lambda n: (-worth[n], n))[:_NODES]


def _zones(scene: Scene) -> list[str]:
    sick: dict[str, int] = {}
    for node in {*scene.dead, *(n for n, told in scene.at_node.items() if any(u.own > 0 for _, u in told))}:
        if zone := scene.graph.zone_of(node):
            sick[zone] = sick.get(zone, 0) + 1
    share = {
        z: n / len(scene.graph.zones()[z]) for z, n in sick.items() if n >= min(2, len(scene.graph.zones()[z]))
    }
    return sorted(share, key=lambda z: (-share[z], z))[:_ZONES]


def _pairs(judge: Judge, scores: Scores, touched: Mapping[Entity, frozenset[str]]) -> list[Hypothesis]:
    """Two services at fault together, judged jointly: each may explain what the other cannot."""
    services = sorted((e for e in touched), key=lambda e: (-scores[e], e))
    own = [e for e in services if judge.seen(e[1], True, _since(judge, e[1])) > 1.0]
    seconds = dict.fromkeys([*_best(services, scores, _SECONDS), *_best(own, scores, _SECONDS)])
    less = judge.w.second - judge.w.crowd * log(judge.scene.layout.services)
    found: list[Hypothesis] = []
    done = set()
    for first in _best(services, scores, _FIRSTS):
        for second in seconds:
            pair = (min(first, second), max(first, second))
            apart = scores[first] + scores[second] - _prior(judge) + less
            if first == second or pair in done or apart < scores[services[0]] - _HOPELESS:
                continue
            done.add(pair)
            if touched[first].isdisjoint(touched[second]):
                found.append((pair, apart))
            else:
                found.append((pair, _pair(judge, first[1], second[1]) + less))
    return found


def _crowds(judge: Judge, scores: Scores, touched: Mapping[Entity, frozenset[str]]) -> list[Hypothesis]:
    """Three services or more at fault together, whose stories have nothing in common, none another's victim."""
    victims = {s for e, story in touched.items() if scores[e] > 0 for s in story if s != e[1]}
    own = [e for e in touched if e[1] not in victims and judge.seen(e[1], True, _since(judge, e[1])) > 1.0]
    likely = _best(sorted(own, key=lambda e: (-scores[e], e)), scores, _CROWD)
    less = judge.w.second - judge.w.crowd * log(judge.scene.layout.services) - _prior(judge)
    return [
        (many, sum(scores[e] for e in many) + (size - 1) * less)
        for size in range(3, len(likely) + 1)
        for many in combinations(likely, size)
        if sum(len(touched[e]) for e in many) == len(frozenset().union(*(touched[e] for e in many)))
    ]


def _best(order: list[Entity], scores: Scores, most: int) -> list[Entity]:
    """The first ones, with those that are as good as the last of them, unless these are too many."""
    if len(order) <= most:
        return order
    even = [e for e in order[: 2 * most] if scores[e] >= scores[order[most - 1]] - _EVEN]
    return even if len(even) < 2 * most else order[:most]


def _pair(judge: Judge, a: str, b: str) -> float:
    sources = {a: _since(judge, a), b: _since(judge, b)}
    tree = judge.explain(sources)
    return _prior(judge) + sum(_itself(judge, s, t) + tree.edges[s] for s, t in sources.items())
