"""Services at fault: one, with what is at fault above it, or two judged jointly that suffer from neither."""

from __future__ import annotations

from collections.abc import Iterable
from math import log

from consulguard.correlate.cause.callers import Callers, Tree
from consulguard.correlate.cause.stories import Story
from consulguard.correlate.cause.trail import either

_FIRSTS, _SECONDS = 5, 12  # of pairs
_JOINT = 8  # pairs judged jointly
_VISITS = 400  # of services in trees of callers, alone
_EVEN = 1e-9  # log
_APART = 7.0  # log: a pair that even apart falls this short of the best is not judged
HOPELESS = 12.0  # log: what falls this short of the best is not judged any further


class Together:
    def __init__(self, callers: Callers, reached: list[int]) -> None:
        self.callers, self.w, self.reached = callers, callers.w, reached
        self.prior = self.w.service - callers.noise
        self.scores: dict[str, float] = {}
        self.touches: dict[str, int] = {}
        self.trees: dict[str, Tree] = {}
        self.itself: dict[str, float] = {}

    def judge(self, services: Iterable[str]) -> None:
        """Each service alone, the most promising first; in a storm not all."""
        spent, best = 0, 0.0
        for service in services:
            self.itself[service] = self.callers.look(self.callers.number[service])
            if self.scores and self.itself[service] <= 1.0 and not self._can_reach(service, best - HOPELESS):
                continue
            tree = self.callers.explain({service: 1.0})
            self._keep(service, tree)
            best = max(best, self.scores[service])
            spent += len(tree.order)
            if spent > _VISITS:
                break

    def _keep(self, service: str, tree: Tree) -> None:
        self.trees[service] = tree
        self.scores[service] = self.prior + self._at_fault(tree, service)
        self.touches[service] = tree.touches()

    def _at_fault(self, tree: Tree, service: str) -> float:
        """What the service and its callers say if it is at fault: as a whole, or some of its units only."""
        n = self.callers.number[service]
        found = self.itself[service] + tree.edges(n)
        if (parted := self.callers.checks.parted(service)) is not None:
            whole, some, share = parted
            changed = self.w.changed * self.callers.scene.changed(service)
            found = changed + either(whole + tree.edges(n), some + self.callers.partly(tree, n, share))
        return found

    def _can_reach(self, service: str, score: float) -> bool:
        """Whether it could score so much if all that fails above it were explained for certain."""
        least = score - self.prior - max(self.itself[service], 0.0)
        callers = self.callers
        return callers.can_say(self.reached[callers.number[service]], least, callers.certain)

    def alone(self) -> list[Story]:
        return [
            Story((("service", s),), score, self.touches[s], self.trees[s]) for s, score in self.scores.items()
        ]

    def pairs(self) -> list[Story]:
        """Two services at fault together, judged jointly: each may explain what the other cannot.

        Where one is above the other, or neither shares anything with the other, single stories say it already.
        """
        scores, less = self.scores, self.callers.further
        order = sorted(scores, key=lambda s: (-scores[s], s))
        own = [s for s in order if self.itself[s] > 1.0]
        seconds = dict.fromkeys([*self._best(order, _SECONDS), *self._best(own, _SECONDS)])
        found: list[Story] = []
        joint: dict[tuple[str, str], float] = {}
        met = set()
        for first in self._best(order, _FIRSTS):
            for second in seconds:
                pair = (min(first, second), max(first, second))
                apart = scores[first] + scores[second] - self.prior + less
                if first == second or pair in met or apart < scores[order[0]] - _APART:
                    continue
                met.add(pair)
                if not self.touches[first] & self.touches[second]:
                    found += [self._unseen(first, second), self._unseen(second, first)]
                elif not (self._above(first, second) or self._above(second, first)):
                    joint[pair] = self._promise(first, second)
        spent = 0
        for pair in sorted(joint, key=lambda p: (-joint[p], p))[:_JOINT]:
            story = self._pair(*pair)
            found.append(story)
            spent += story.touches.bit_count()
            if spent > _VISITS:
                break
        return found

    def _above(self, caller: str, service: str) -> bool:
        return bool(self.touches[service] >> self.callers.number[caller] & 1)

    def _unseen(self, cause: str, victim: str) -> Story:
        """One cause, the other its victim over a call nobody told us of.

        What is known to call nobody and to be called by nobody has such calls; of the rest a few are not known.
        """
        scene, n = self.callers.scene, self.callers.number[victim]
        calls = 1.0 if scene.layout.lonely(victim) else self.w.unseen
        falls = calls * min(self.touches[cause].bit_count() / scene.layout.services, 1.0)
        told = self.callers.deps[n] + self.trees[victim].edges(n)
        score = self.scores[cause] + told + log(falls * self.w.leans)
        return Story((("service", cause),), score, self.touches[cause] | self.touches[victim])

    def _promise(self, a: str, b: str) -> float:
        """The better of the two, and what only the other explains."""
        if self.scores[b] > self.scores[a]:
            a, b = b, a
        number = self.callers.number
        left = self.reached[number[b]] & ~self.reached[number[a]]
        return self.scores[a] + 3.0 * left.bit_count() + max(self.itself[b], 0.0)

    def _best(self, order: list[str], most: int) -> list[str]:
        """The first ones, with those that are as good as the last of them, unless these are too many."""
        if len(order) <= most:
            return order
        even = [s for s in order[: 2 * most] if self.scores[s] >= self.scores[order[most - 1]] - _EVEN]
        return even if len(even) < 2 * most else order[:most]

    def _pair(self, a: str, b: str) -> Story:
        tree = self.callers.explain({a: 1.0, b: 1.0})
        score = self.prior + self.callers.further + self._at_fault(tree, a) + self._at_fault(tree, b)
        return Story((("service", a), ("service", b)), score, tree.touches(), tree)
