"""What is remembered of each check's past: its last flips, for a quarter of an hour."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from consulguard.model import Observation, Status, Target

KEEP_S = 900.0  # a check that has passed for this long is forgotten
MOST = 32  # flips kept per check
PLANNED = 3
_LEVEL = {
    Status.PASSING: 0,
    Status.WARNING: 1,
    Status.CRITICAL: 2,
    Status.ABSENT: 2,
    Status.MAINTENANCE: PLANNED,
}


class Trail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One check's last flips, the oldest first: (seconds, 0 passing, 1 warning, 2 critical, 3 planned)."""

    target: Target
    check: str
    flips: list[tuple[float, int]]

    def see(self, at: float, level: int) -> None:
        """Take a look in; only a change leaves a mark."""
        last, now = self.flips[-1]
        if now != level:
            self.flips.append((max(at, last), level))
            del self.flips[:-MOST]


def notice(trails: dict[str, Trail], looks: Iterable[Observation]) -> None:
    """Take looks in, seconds since 1970. A check that has never failed leaves no trail; silence is no news."""
    for look in looks:
        level = _LEVEL.get(look.status)
        if level is None:
            continue
        if (trail := trails.get(look.key)) is not None:
            trail.see(look.at.timestamp(), level)
        elif level:
            trails[look.key] = Trail(target=look.target, check=look.check, flips=[(look.at.timestamp(), level)])


def forget(trails: dict[str, Trail], now: float) -> None:
    """Drop what passes, or was planned away, for so long that it says nothing any more."""
    old = [key for key, t in trails.items() if t.flips[-1][1] in (0, PLANNED) and t.flips[-1][0] < now - KEEP_S]
    for key in old:
        del trails[key]
