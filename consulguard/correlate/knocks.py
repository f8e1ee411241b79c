"""Whose door to knock at: suspects nobody sees clearly, and now and then those who are well.

A suspect is a service that looks well itself and that an open incident names as its root, or weighs as another
cause: its answer would move the ranking, so it is asked while the incident lasts. Who is well is asked rarely: a
door that does not answer is believed only if it is known to be one that did. All are on the operator's list.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from consulguard.correlate.book import Book, open_incidents
from consulguard.correlate.cause.doors import Door, heard
from consulguard.correlate.cause.layout import layout
from consulguard.correlate.keys import root_target, service_key
from consulguard.model import DoorAnswer, IncidentState, Role, State, Target
from consulguard.policy import CorrelatePolicy, ProbePolicy

_MINUTE = 60.0


def answered(book: Book, answers: Iterable[DoorAnswer], at: datetime) -> None:
    """Take answers in."""
    for answer in answers:
        heard(book.doors, service_key(answer.service), answer, at.timestamp())


def forget_doors(book: Book) -> None:
    """Another life may stand elsewhere, and reach others."""
    book.doors.clear()
    book.knocks.clear()


def knock(book: Book, at: datetime, policy: CorrelatePolicy) -> tuple[Target, ...]:
    """The services to probe now, suspects first. They count as asked."""
    probe = policy.probe
    if not probe.services or not policy.infer:
        if book.doors:
            forget_doors(book)
        return ()
    now = at.timestamp()
    book.knocks[:] = [moment for moment in book.knocks if moment > now - _MINUTE]
    due = [key for moment, _, key in _due(book, probe) if moment <= now]
    found = []
    for key in due[: max(probe.most - len(book.knocks), 0)]:
        target = book.graph.target(key)
        if target is not None:
            door = book.doors.setdefault(key, Door(service=target.service, asked=now))
            door.asked = now
            book.knocks.append(now)
            found.append(target)
    return tuple(found)


def next_knock(book: Book, policy: CorrelatePolicy) -> datetime | None:
    """When somebody is to be asked next."""
    if not policy.probe.services or not policy.infer:
        return None
    due = min((moment for moment, _, _ in _due(book, policy.probe)), default=None)
    if due is None:
        return None
    if len(book.knocks) >= policy.probe.most:
        due = max(due, book.knocks[0] + _MINUTE)
    return datetime.fromtimestamp(max(due, 0.0), UTC) + timedelta(milliseconds=1)


def _due(book: Book, probe: ProbePolicy) -> list[tuple[float, int, str]]:
    """(when, 0 for a suspect, key), suspects first, then who waits longest."""
    suspects = _suspects(book)
    named = layout(book.graph).named
    found = []
    for key in dict.fromkeys(named(name) for name in probe.services):
        if not key or key in book.failing:
            continue
        gap = probe.every_s if key in suspects else probe.well_s
        door = book.doors.get(key)
        found.append((door.asked + gap if door is not None else 0.0, int(key not in suspects), key))
    return sorted(found, key=lambda due: (due[1], due[0], due[2]))


def _suspects(book: Book) -> set[str]:
    """Keys of services."""
    found: set[str] = set()
    for incident in open_incidents(book):
        if incident.state is not IncidentState.OPEN:
            continue
        found |= {
            service_key(m.target)
            for m in incident.members
            if m.role is Role.ROOT_CAUSE and m.kind == "service" and m.state is State.PASSING
        }
        found |= {service_key(root_target(o.root)) for o in incident.alternatives if o.root.kind == "service"}
    return found
