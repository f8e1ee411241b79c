"""Services at fault: one, two judged jointly, or several whose stories have nothing in common."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from math import log

from consulguard.correlate.cause.callers import Callers, Tree, total

_FIRSTS, _SECONDS = 5, 12  # of pairs
_JOINT = 12  # pairs judged jointly
_VISITS = 1200  # of services in trees of callers, alone
_REFINED = 8
_CROWD = 4  # of which three or more may be at fault together
_EVEN = 1e-9  # log
_APART = 7.0  # log: a pair that even apart falls this short of the best is not judged
HOPELESS = 12.0  # log: what falls this short of the best is not judged any further

Entity = tuple[str, str]  # kind, key
Hypothesis = tuple[tuple[Entity, ...], float]


class Together:
    def __init__(self, callers: Callers, reached: list[int]) -> None:
        self.callers, self.w, self.reached = callers, callers.w, reached
        self.crowd = self.w.crowd * log(callers.scene.layout.services)
        self.prior = self.w.service - self.crowd
        self.scores: dict[str, float] = {}
        self.stories: dict[str, frozenset[int]] = {}
        self.trees: dict[str, Tree] = {}
        self.itself: dict[str, float] = {}

    def judge(self, services: Iterable[str]) -> None:
        """Each service alone, the most promising first; in a storm not all."""
        spent, best = 0, 0.0
        for service in services:
            scene, checks = self.callers.scene, self.callers.checks
            self.itself[service] = checks.seen(service, True) + self.w.changed * scene.changed(service)
            if self.scores and self.itself[service] <= 1.0 and self._most(service) < best - HOPELESS:
                continue
            tree = self.callers.explain({service: 1.0})
            self._keep(service, tree)
            best = max(best, self.scores[service])
            spent += len(tree.order)
            if spent > _VISITS:
                break
        for service in sorted(self.scores, key=lambda s: (-self.scores[s], s))[:_REFINED]:
            if self.scores[service] > best - HOPELESS:
                self.callers.refine(self.trees[service])
                self._keep(service, self.trees[service])

    def _keep(self, service: str, tree: Tree) -> None:
        self.trees[service] = tree
        self.scores[service] = self.prior + self._at_fault(tree, service)
        self.stories[service] = frozenset(tree.order)

    def _at_fault(self, tree: Tree, service: str) -> float:
        """What the service and its callers say if it is at fault: as a whole, or some of its units only."""
        n = self.callers.number[service]
        found = self.itself[service] + tree.edges[n]
        if (parted := self.callers.checks.parted(service)) is not None:
            whole, some, share = parted
            changed = self.w.changed * self.callers.scene.changed(service)
            found = changed + total([whole + tree.edges[n], some + self.callers.partly(tree, n, share)])
        return found

    def _most(self, service: str) -> float:
        """No score of it is higher: all that fails above it would be explained for certain."""
        above = self.callers.most(self.reached[self.callers.number[service]])
        return self.prior + max(self.itself[service], 0.0) + above

    def alone(self) -> list[Hypothesis]:
        return [((("service", s),), score) for s, score in self.scores.items()]

    def pairs(self) -> list[Hypothesis]:
        """Two services at fault together, judged jointly: each may explain what the other cannot."""
        scores, less = self.scores, self.w.second - self.crowd
        order = sorted(scores, key=lambda s: (-scores[s], s))
        own = [s for s in order if self.itself[s] > 1.0]
        seconds = dict.fromkeys([*self._best(order, _SECONDS), *self._best(own, _SECONDS)])
        found: dict[tuple[str, str], float] = {}
        unseen: list[Hypothesis] = []
        joint: dict[tuple[str, str], float] = {}
        for first in self._best(order, _FIRSTS):
            for second in seconds:
                pair = (min(first, second), max(first, second))
                if first == second or pair in found or pair in joint:
                    continue
                apart = scores[first] + scores[second] - self.prior + less
                if apart < scores[order[0]] - _APART:
                    continue
                if self.stories[first].isdisjoint(self.stories[second]):
                    found[pair] = apart
                    unseen += [self._unseen(first, second), self._unseen(second, first)]
                else:
                    joint[pair] = self._promise(first, second)
        spent = 0
        for pair in sorted(joint, key=lambda p: (-joint[p], p))[:_JOINT]:
            found[pair], visits = self._pair(*pair, order[0], less)
            spent += visits
            if spent > _VISITS:
                break
        return [((("service", a), ("service", b)), score) for (a, b), score in found.items()] + unseen

    def _unseen(self, cause: str, victim: str) -> Hypothesis:
        """One cause, the other its victim over a call nobody told us of.

        What is known to call nobody and to be called by nobody has such calls; of the rest a few are not known.
        """
        scene, n = self.callers.scene, self.callers.number[victim]
        calls = 1.0 if scene.layout.lonely(victim) else self.w.unseen
        falls = calls * min(len(self.stories[cause]) / scene.layout.services, 1.0)
        told = self.callers.deps[n] + self.trees[victim].edges[n]
        return (("service", cause),), self.scores[cause] + told + log(falls * self.w.leans[-1][0])

    def _promise(self, a: str, b: str) -> float:
        """The better of the two, and what only the other explains."""
        if self.scores[b] > self.scores[a]:
            a, b = b, a
        number = self.callers.number
        left = self.reached[number[b]] & ~self.reached[number[a]]
        return self.scores[a] + 3.0 * left.bit_count() + max(self.itself[b], 0.0)

    def crowds(self) -> list[Hypothesis]:
        """Three services or more, whose stories have nothing in common, none another's victim."""
        number, scores = self.callers.number, self.scores
        victims = {n for s, story in self.stories.items() if scores[s] > 0 for n in story if n != number[s]}
        own = [s for s in scores if number[s] not in victims and self.itself[s] > 1.0]
        likely = self._best(sorted(own, key=lambda s: (-scores[s], s)), _CROWD)
        less = self.w.second - self.crowd - self.prior
        return [
            (tuple(("service", s) for s in many), sum(scores[s] for s in many) + (size - 1) * less)
            for size in range(3, len(likely) + 1)
            for many in combinations(likely, size)
            if sum(len(self.stories[s]) for s in many) == len(frozenset().union(*(self.stories[s] for s in many)))
        ]

    def _best(self, order: list[str], most: int) -> list[str]:
        """The first ones, with those that are as good as the last of them, unless these are too many."""
        if len(order) <= most:
            return order
        even = [s for s in order[: 2 * most] if self.scores[s] >= self.scores[order[most - 1]] - _EVEN]
        return even if len(even) < 2 * most else order[:most]

    def _pair(self, a: str, b: str, best: str, less: float) -> tuple[float, int]:
        """Its score, and how many services its story touches."""
        tree = self.callers.explain({a: 1.0, b: 1.0})
        score = self.prior + less + self._at_fault(tree, a) + self._at_fault(tree, b)
        if score > self.scores[best] - HOPELESS:
            self.callers.refine(tree)
            score = self.prior + less + self._at_fault(tree, a) + self._at_fault(tree, b)
        return score, len(tree.order)
