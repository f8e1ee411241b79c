"""What is remembered of each check's past, and of calls: the last flips, for a quarter of an hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from consulguard.correlate.cause.doors import Door
from consulguard.model import CallRate, Observation, Status, Target

KEEP_S = 900.0  # a check that has passed for this long is forgotten
MOST = 32  # flips kept per check
CALLS_MAX = 20_000  # pairs of caller and callee
PLANNED = 3
_LEVEL = {
    Status.PASSING: 0,
    Status.WARNING: 1,
    Status.CRITICAL: 2,
    Status.ABSENT: 2,
    Status.MAINTENANCE: PLANNED,
}


class Flips(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The last flips, the oldest first: (seconds, 0 passing, 1 warning, 2 critical, 3 planned)."""

    flips: list[tuple[float, int]]

    def see(self, at: float, level: int) -> None:
        """Take a look in; only a change leaves a mark."""
        flips = self.flips
        last, now = flips[-1]
        if now != level:
            flips.append((at if at > last else last, level))
            if len(flips) > MOST:
                del flips[:-MOST]


class Trail(Flips, kw_only=True, omit_defaults=True, gc=False):
    """One check's past."""

    target: Target
    check: str
    alias: bool = False  # it stands for the health of something else


class Call(Flips, kw_only=True, omit_defaults=True, gc=False):
    """How one service's calls to another have fared; services by the names they are measured under."""

    caller: str
    callee: str
    failed: float  # the share that fails, as last told


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a service was changed."""

    at: float  # seconds since 1970
    what: str  # a clause: "its tags changed"


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known besides the checks."""

    calls: Mapping[str, Call] = field(default_factory=dict)
    changes: Mapping[str, Sequence[Change]] = field(default_factory=dict)  # by service, the oldest first
    doors: Mapping[str, Door] = field(default_factory=dict)  # by service


NONE = Hints()


def notice(trails: dict[str, Trail], looks: Iterable[Observation]) -> None:
    """Take looks in, seconds since 1970. A check that has never failed leaves no trail; silence is no news."""
    for look in looks:
        level = _LEVEL.get(look.status)
        if level is None:
            continue
        if (trail := trails.get(look.key)) is not None:
            trail.see(look.at.timestamp(), level)
        elif level:
            alias = look.type == "alias"
            flips = [(look.at.timestamp(), level)]
            trails[look.key] = Trail(target=look.target, check=look.check, flips=flips, alias=alias)


def forget(trails: dict[str, Trail], now: float) -> None:
    """Drop what passes, or was planned away, for so long that it says nothing any more."""
    old = [key for key, t in trails.items() if t.flips[-1][1] in (0, PLANNED) and t.flips[-1][0] < now - KEEP_S]
    for key in old:
        del trails[key]


def calls_fail(failed: float, failing: float, was: bool) -> bool:
    """Whether calls count as failing: from the share ``failing`` on, and then down to half of it."""
    return failed >= (failing / 2 if was else failing)


def hear(calls: dict[str, Call], rates: Iterable[CallRate], now: float, failing: float) -> None:
    """Take measured calls in, seconds since 1970. ``failing``: the share of failed calls that counts."""
    for rate in rates:
        key = f"{rate.caller}\t{rate.callee}"
        call = calls.get(key)
        if rate.failed is None:
            calls.pop(key, None)
            continue
        level = 2 * calls_fail(rate.failed, failing, call is not None and call.flips[-1][1] > 0)
        if call is not None:
            call.see(now, level)
            call.failed = rate.failed
        elif len(calls) < CALLS_MAX:
            calls[key] = Call(caller=rate.caller, callee=rate.callee, failed=rate.failed, flips=[(now, level)])
