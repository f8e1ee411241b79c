"""Who is told what: Alertmanager's routing tree over the labels of a message. Pure.

A message goes down the tree from the root, which everything fits. Of a node's routes the first that fits takes it,
and those after it as well while each says ``continue``; where none fits, the node itself is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from consulguard.guard.hours import is_open
from consulguard.plan.matcher import matches
from consulguard.policy import Route, Window

LABELS: Final = (
    "service",
    "datacenter",
    "namespace",
    "partition",
    "peer",
    "node",
    "instance",
    "scope",
    "zone",
    "severity",
    "team",
    "kind",
)
MUTE_MAX = timedelta(days=8)  # looked ahead for the end of a mute
Labels = Mapping[str, tuple[str, ...]]


def chosen(route: Route, labels: Labels) -> tuple[Route, ...]:
    """The routes that take a message with these labels, each receiver once. Never empty."""
    found: dict[str, Route] = {}
    for leaf in _down(route, labels):
        found.setdefault(leaf.receiver, leaf)
    return tuple(found.values())


def _down(route: Route, labels: Labels) -> Iterator[Route]:
    fitting = False
    for inner in route.routes:
        if matches(inner.matchers, labels):
            fitting = True
            yield from _down(inner, labels)
            if not inner.more:
                return
    if not fitting:
        yield route


def not_before(route: Route, at: datetime, *, first: bool) -> datetime:
    """When the receiver may be told of what happened at ``at``."""
    wait = route.group_wait_s if first else route.group_interval_s
    moment = at + timedelta(seconds=wait)
    return muted_until(route, moment) or moment


def muted_until(route: Route, at: datetime) -> datetime | None:
    """When the last of the mutes that hold at ``at``, one after the other, is over; None: none holds."""
    end, limit = at, at + MUTE_MAX
    while end < limit:
        ends = [_closes(window, end) for window in route.mute if is_open(window, end)]
        if not ends:
            break
        end = max(ends)
    return end if end > at else None


def _closes(window: Window, at: datetime) -> datetime:
    """The first moment after ``at`` at which the window, open at ``at``, is not; at most ``MUTE_MAX`` ahead."""
    zone = ZoneInfo(window.zone)
    today = at.astimezone(zone).date()
    moments = []
    for ahead in range(-1, MUTE_MAX.days + 1):
        day = today + timedelta(days=ahead)
        for opening in window.open:
            over = opening.end // (24 * 60)  # 24:00 is the next day's 00:00
            wall = datetime(day.year, day.month, day.day, (opening.end // 60) % 24, opening.end % 60, tzinfo=zone)
            moments += [(wall + timedelta(days=over)).replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    return min((m for m in moments if m > at and not is_open(window, m)), default=at + MUTE_MAX)
