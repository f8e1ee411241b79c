"""How well a cause explains what fails and what does not: a noisy-OR over the tree of its callers.

For sources R (services taken to be broken) the log ratio of the evidence with and without them is

    sum over r of  edges(r),   edges(v) = log sum_b w_b prod_c [1 - t b + t b order(c, v) exp(seen(c) + edges(c))]

over the callers c of v, t being the trust of the edge and b how strongly callers lean on v (one unknown for all
callers of v, with weights w). ``seen`` is what the caller's own checks say. Each caller hangs on the nearest
parent only (a shortest-path tree), so nothing is counted twice; where several are equally near, each gets an equal
part of its log. After S. Kandula et al., "Shrink" (2005), and P. Bahl et al., "Sherlock" (2007): noisy-OR over
shared risks, few causes at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, inf, log, log1p
from typing import NamedTuple

from consulguard.correlate.cause.scene import Scene

_COST = (0.6, 1.6)  # of a step in the tree: to a failing caller, to one that stands
_FAR = 4.0
_MANY = 40  # services in one tree
_LEAST = 0.3  # a caller that failed well before what it leans on is not ruled out
_SCALE_S = 11.0


class _Way(NamedTuple):
    """To a caller: the first three decide, names only break what is equal."""

    cost: float
    doubt: float  # minus the trust of the edge
    when: float  # what is below failed, for sorting
    service: str
    parent: str  # empty: a source
    before: float  # cost of the parent


@dataclass(slots=True)
class Tree:
    order: list[str] = field(default_factory=list)  # parents before their callers
    ways: dict[str, _Way] = field(default_factory=dict)
    since: dict[str, float | None] = field(default_factory=dict)
    kids: dict[str, list[tuple[str, float]]] = field(default_factory=dict)  # with the trust of the edge
    parents: dict[str, int] = field(default_factory=dict)  # how many explain it equally well
    edges: dict[str, float] = field(default_factory=dict)

    def add(self, way: _Way) -> None:
        self.kids.setdefault(way.parent, []).append((way.service, -way.doubt))
        self.parents[way.service] = self.parents.get(way.service, 0) + 1


class Judge:
    """Remembers what several hypotheses ask again and again."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.w = scene, scene.w
        self._seen: dict[tuple[str, bool, float], float] = {}
        self._calm: dict[tuple[str, float | None, float], float] = {}
        self._still: dict[tuple[str, float | None, float], list[float]] = {}

    # ---- one service's own checks

    def quiet(self, elapsed: float) -> float:
        """Of a unit that has always passed: P(so | broken for ``elapsed`` seconds) / P(so | well)."""
        return self.w.strays + (1 - self.w.strays) * exp(-max(elapsed, 0.0) / self.w.delay_s)

    def seen(self, service: str, own: bool, since: float | None) -> float:
        """Log ratio of what the service's checks say, if it is at fault itself, or something it needs is."""
        scene = self.scene
        since = scene.now - 60.0 if since is None else since
        key = (service, own, since)
        found = self._seen.get(key)
        if found is None:
            told = self._told(service, own, since) if scene.checked(service) else 0.0
            found = self._seen[key] = told + self._asked(service, since)
        return found

    def _told(self, service: str, own: bool, since: float) -> float:
        scene, w = self.scene, self.w
        units = [u for u in scene.units.get(service, ()) if u.node not in scene.dead]
        silent = scene.silent(service)
        if not units and not silent:
            return 0.0
        sees = w.sees_own if own else w.sees_deps
        quiet = self.quiet(scene.now - since)
        full = silent * log(quiet)
        some = silent * quiet
        for unit in units:
            ratio = exp(unit.own if own else unit.deps)
            full += log(w.strays + (1 - w.strays) * ratio)
            some += ratio
        excuse = 1 + scene.restarts(service)
        full -= log(excuse)
        part = some / (len(units) + silent) / excuse
        return log(sees * ((1 - w.partial) * exp(min(full, 300.0)) + w.partial * part) + 1 - sees)

    def _asked(self, service: str, since: float) -> float:
        """What its callers' calls say, where they are measured: a check that is not shallow."""
        if (asked := self.scene.asked.get(service)) is None:
            return 0.0
        ratio = self.quiet(self.scene.now - since) if asked.ratio is None else exp(asked.ratio)
        return log(self.w.sees_calls * ratio + 1 - self.w.sees_calls)

    # ---- the callers

    def tree(self, sources: Mapping[str, float | None]) -> Tree:
        """``sources``: service -> since when it is taken to be broken (None: not known)."""
        tree, heap = Tree(), [_Way(0.0, -1.0, _when(since), s, "", -1.0) for s, since in sources.items()]
        heapq.heapify(heap)
        edge = inf  # the cost at which the tree was large enough
        while heap:
            way = heapq.heappop(heap)
            service, parent = way.service, way.parent
            if way.before >= edge:
                continue
            if service in tree.ways:
                if way[:3] == tree.ways[service][:3]:  # another parent explains it as well
                    tree.add(way)
                continue
            tree.ways[service] = way
            since = self.scene.onset.get(service) if parent else None
            if since is None:
                since = tree.since[parent] if parent else sources[service]
            tree.since[service] = since
            tree.order.append(service)
            if parent:
                tree.add(way)
            if way.cost <= _FAR:
                self._climb(heap, way, since, tree, sources)
            if len(tree.order) >= _MANY:
                edge = min(edge, way.cost)
        return tree

    def _climb(
        self, heap: list[_Way], way: _Way, since: float | None, tree: Tree, sources: Mapping[str, float | None]
    ) -> None:
        """To its callers."""
        for caller, leaning in self.scene.told(way.service):
            if caller in tree.ways or caller in sources:
                continue
            began = self.scene.onset.get(caller)
            step = _COST[began is None]
            if began is not None and since is not None and began < since - self.w.early_s:
                step += 1.0
            heapq.heappush(heap, _Way(way.cost + step, -leaning, _when(since), caller, way.service, way.cost))

    def explain(self, sources: Mapping[str, float | None], share: Mapping[str, float] | None = None) -> Tree:
        """The tree with ``edges`` filled in. ``share``: how much of a source is broken, 1 where not given."""
        tree = self.tree(sources)
        for service in reversed(tree.order):
            part = share.get(service, 1.0) if share and not tree.ways[service].parent else 1.0
            tree.edges[service] = self._edges(tree, service, part)
        return tree

    def _edges(self, tree: Tree, service: str, part: float) -> float:
        below = tree.kids.get(service)
        since = tree.since[service]
        if not below:
            key = (service, since, part)
            if (found := self._calm.get(key)) is None:
                found = self._calm[key] = _sum(self._stands(service, since, part))
            return found
        kids = []
        for caller, trust in below:
            weight = self.seen(caller, False, tree.since[caller]) + tree.edges[caller]
            order = self._order(self.scene.onset.get(caller), since)
            kids.append((trust, order * exp(min(weight, 300.0)) - 1, 1 / tree.parents[caller]))
        found_by = []
        for (lean, _), told in zip(self.w.leans, self._stands(service, since, part), strict=True):
            b = lean * part
            found_by.append(told + sum([part_of * log1p(trust * b * gain) for trust, gain, part_of in kids]))
        return _sum(found_by)

    def _stands(self, service: str, since: float | None, part: float) -> list[float]:
        """What its callers that stand say, for each way to lean on it; the ways' own weights included."""
        key = (service, since, part)
        if (found := self._still.get(key)) is None:
            w = self.w
            elapsed = self.scene.now - since if since is not None else 60.0
            loud = w.sees_deps * (1 - self.quiet(elapsed - 10.0))
            calm = [(trust, n) for trust, n in self.scene.calm(service).items() if n]
            found = self._still[key] = [
                log(weight) + sum([n * log1p(-trust * lean * part * loud) for trust, n in calm])
                for lean, weight in w.leans
            ]
        return found

    def _order(self, caller: float | None, callee: float | None) -> float:
        if caller is None or callee is None:
            return 1.0
        early = (caller - callee + self.w.early_s) / _SCALE_S
        return max(_LEAST, 1 / (1 + exp(-early))) if early > -30 else _LEAST


def _sum(logs: list[float]) -> float:
    """The log of the sum of what these are the logs of."""
    high = max(logs)
    return high + log(sum([exp(x - high) for x in logs]))


def _when(since: float | None) -> float:
    """For sorting: the earlier first, what is not known last."""
    return inf if since is None else since
