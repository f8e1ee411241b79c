"""A check's own manners: how long it may stay silent about a fault, so that a slow one is not taken for good.

Newer servers tell the interval, 1.8 does not, and none tells how many failures make a check critical. Service
meta says both: ``consulguard-check-interval: 60s`` (of a TTL check the TTL) and
``consulguard-failures-before-critical: 3``. Where nobody says anything the fitted delay holds.
"""

from __future__ import annotations

import re
from math import exp
from typing import NamedTuple

from consulguard.correlate.cause.weights import Weights
from consulguard.model import ServiceFact, own_meta

PROMPT_S = 60.0  # who tells within a minute is no slower than the fitted delay supposes
_MOST_S = 3600.0
_FAILURES_MAX = 100
_DURATION = re.compile(r"([0-9]{1,6})(ms|s|m|h)", re.ASCII)
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Manner(NamedTuple):
    silent_s: float = 0.0  # no check can have told before that long after the fault
    looks_s: float = 0.0  # between two looks; 0: not known

    @property
    def slow(self) -> bool:
        """Whether that it passes says little of what happened within the last minutes."""
        return self.silent_s + self.looks_s > PROMPT_S


USUAL = Manner()


def manner_of(fact: ServiceFact | None) -> Manner:
    """As the service's meta declares it, else as Consul tells it of the instances that were read."""
    if fact is None:
        return USUAL
    told = [i.interval_s for i in fact.instances or () if i.interval_s]
    if not (told or fact.meta):
        return USUAL
    declared = _DURATION.fullmatch(own_meta(fact.meta, "check-interval") or "")
    looks = int(declared[1]) * _UNIT_S[declared[2]] if declared is not None else min(told, default=0.0)
    failures = own_meta(fact.meta, "failures-before-critical") or ""
    needed = min(int(failures[:9]), _FAILURES_MAX) if failures.isascii() and failures.isdigit() else 1
    looks = min(looks, _MOST_S)
    return Manner(min(max(needed - 1, 0) * looks, _MOST_S), looks)


def quiet(elapsed: float, manner: Manner, w: Weights) -> float:
    """Of a unit that has always passed: P(so | broken for ``elapsed`` seconds) / P(so | well)."""
    silent, looks = manner
    if elapsed <= silent:
        return 1.0
    return w.strays + (1 - w.strays) * exp((silent - elapsed) / (looks if looks > w.delay_s else w.delay_s))
