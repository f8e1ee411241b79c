"""What Consul shows of a check while the thing it looks at comes and goes.

Thresholds count as Consul counts them: ``failures_before_critical`` failures in a row make it critical,
``success_before_passing`` successes in a row make it pass, 0 meaning the first one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from bench.correlation.world import Check

LOST = 0.015  # flips that the watcher never sees
LATE = 0.04  # ... that it sees late, by LATE_S
LATE_S = (5.0, 40.0)
OLD_S = 1_500.0  # what is ill for longer is not probed one by one


class Ill(NamedTuple):
    """From ``start`` to ``end`` this share of the probes fails."""

    start: float
    end: float
    share: float = 1.0


Flip = tuple[float, str]


def flips(check: Check, ills: Sequence[Ill], now: float, dice: random.Random, frozen: float = inf) -> list[Flip]:
    """What is seen until ``now``. From ``frozen`` on the node's agent is dead, and its checks say nothing new."""
    old = [ill for ill in ills if ill.start < -OLD_S and ill.end >= now]
    if old:
        return [(old[0].start, "critical")]
    if not ills:
        return []
    begin = min(ill.start for ill in ills) - check.every_s * (1 + dice.random())
    until = min(now, frozen)
    made = _beats(check, ills, begin, until, dice) if check.ttl_s else _probes(check, ills, begin, until, dice)
    return _delivered(made, now, dice)


def _fails(ills: Sequence[Ill], at: float, dice: random.Random) -> bool:
    return any(ill.start <= at < ill.end and dice.random() < ill.share for ill in ills)


def _probes(check: Check, ills: Sequence[Ill], begin: float, until: float, dice: random.Random) -> list[Flip]:
    made: list[Flip] = []
    bad, good, status, at = 0, 0, "passing", begin
    failing = "warning" if check.soft else "critical"
    while at <= until:
        if _fails(ills, at, dice):
            bad, good = bad + 1, 0
            if status == "passing" and bad >= check.failures_before_critical:
                made.append((at, status := failing))
        else:
            bad, good = 0, good + 1
            if status != "passing" and good >= check.success_before_passing:
                made.append((at, status := "passing"))
        at += check.every_s
    return made


def _beats(check: Check, ills: Sequence[Ill], begin: float, until: float, dice: random.Random) -> list[Flip]:
    """A TTL check passes with each beat, and is critical when none came for ``ttl_s``."""
    made: list[Flip] = []
    last, at, well = begin, begin, True
    while at <= until:
        if not _fails(ills, at, dice):
            if not well:
                made.append((at, "passing"))
            last, well = at, True
        elif well and at - last >= check.ttl_s:
            made.append((last + check.ttl_s, "critical"))
            well = False
        at += check.every_s
    return made


def _delivered(made: Sequence[Flip], now: float, dice: random.Random) -> list[Flip]:
    """As the watcher sees it: the catalog holds a state, so nothing overtakes, and what repeats is no flip."""
    seen: list[Flip] = []
    status, last = "passing", -inf
    for at, new in made:
        chance, wait = dice.random(), dice.uniform(0.0, 1.0)
        if chance < LOST:
            continue
        if chance < LOST + LATE:
            wait = dice.uniform(*LATE_S)
        last = max(last, at + wait)
        if new != status and last <= now:
            seen.append((round(last, 2), new))
            status = new
    return seen
