"""What people do to an incident: acknowledge, assign, close and reopen it. Pure; each answers with a sentence too.

``machine.py`` says from which state each may be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from consulguard.correlate.book import ACTIVE, Book
from consulguard.correlate.keys import root_key
from consulguard.correlate.machine import Input, after
from consulguard.model import Incident, IncidentState, State, Trouble
from consulguard.policy import CorrelatePolicy

_FAILS_NOT = (State.PASSING, State.RECOVERING, State.MAINTENANCE)


class Done(NamedTuple):
    """``incident``: as it is now; None: nothing was changed, and ``text`` says why."""

    incident: Incident | None
    text: str


def again(incident: Incident) -> Incident:
    """A closed incident opened once more: nobody has seen it yet, and who closed it is overruled."""
    return msgspec.structs.replace(
        incident,
        state=IncidentState.OPEN,
        resolved_at=None,
        reopened=incident.reopened + 1,
        acked_by="",
        acked_at=None,
        closed_by="",
        closed_why="",
    )


def ack(book: Book, incident: Incident, who: str, at: datetime) -> Done:
    """Somebody looks after it: no escalation, no reminder. Holds until the incident is closed and opens again."""
    if incident.state not in ACTIVE:
        return Done(None, f"{incident.id} is {incident.state.value} already")
    if incident.acked_by:
        return Done(None, f"{incident.id} was already acknowledged by {incident.acked_by}")
    return Done(_put(book, incident, at, acked_by=who, acked_at=at), f"{incident.id} is acknowledged")


def assign(book: Book, incident: Incident, to: str, at: datetime) -> Done:
    """Give it to somebody, who need not know us."""
    if incident.state not in ACTIVE:
        return Done(None, f"{incident.id} is {incident.state.value} already")
    if incident.assigned_to == to:
        return Done(None, f"{incident.id} is {to}'s already")
    return Done(_put(book, incident, at, assigned_to=to), f"{incident.id} is now {to}'s")


def resolve(
    book: Book, incident: Incident, said: tuple[str, str], troubles: Mapping[str, Trouble], at: datetime
) -> Done:
    """Close it. ``said``: who and why. What still fails needs a reason, and stays known until it has passed."""
    who, why = said
    now = after(incident.state, Input.RESOLVE)
    if now is None:
        return Done(None, f"{incident.id} is {incident.state.value} already")
    failing = _failing(book, incident, troubles)
    if failing and not why:
        return Done(None, f"{len(failing)} of {incident.id} still fail: closing it needs a reason")
    for notes in (book.quiet, book.holds, book.abating):
        notes.pop(incident.id, None)
    if failing:
        book.shelf[incident.id] = failing
    changes = {"resolved_at": at, "closed_by": who, "closed_why": why, "kept_by": "", "kept_why": ""}
    still = f"; {len(failing)} known to fail: it opens again when anything else does" if failing else ""
    return Done(_put(book, incident, at, state=now, **changes), f"{incident.id} is resolved{still}")


def reopen(book: Book, incident: Incident, said: tuple[str, str], policy: CorrelatePolicy, at: datetime) -> Done:
    """Open a closed one again; ``said``: who and why.

    If nothing of it fails it stays open until a person closes it, or it fails and recovers.
    """
    who, why = said
    now = after(incident.state, Input.REOPEN)
    if now is None:
        return Done(None, f"{incident.id} is {incident.state.value}: only a resolved one can be reopened")
    oldest = at - timedelta(seconds=policy.reopen_s)
    shelved = book.shelf.pop(incident.id, None)
    if shelved is None and (incident.resolved_at is None or incident.resolved_at < oldest):
        return Done(None, f"{incident.id} was resolved more than {policy.reopen_s:g} s ago")
    mine = root_key(incident.root)
    if other := next((i for i in book.incidents.values() if i.state in ACTIVE and root_key(i.root) == mine), None):
        return Done(None, f"the same fails in {other.id}, which is open")
    book.quiet[incident.id], book.holds[incident.id] = at, True
    changes = {"kept_by": who, "kept_why": why, "root_since": at}
    return Done(_put(book, again(incident), at, **changes), f"{incident.id} is open again")


def _failing(book: Book, incident: Incident, troubles: Mapping[str, Trouble]) -> list[str]:
    """Keys of what fails of it now."""
    if incident.state is not IncidentState.OPEN:
        return []
    things = book.covers.get(incident.id, ())
    return [t for t in things if t in troubles and troubles[t].state not in _FAILS_NOT]


def _put(book: Book, incident: Incident, at: datetime, **changes: Any) -> Incident:
    """People want to know: it is a new version."""
    new = msgspec.structs.replace(incident, version=incident.version + 1, updated_at=at, **changes)
    book.incidents[incident.id] = new
    return new
