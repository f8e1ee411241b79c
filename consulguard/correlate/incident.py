"""Incidents: explanations that last. They open, grow, merge, recover, resolve and reopen, and keep their identity.

An explanation continues the active incident with the same root; else the one that covers most of the same failing
things (the oldest of equals); else it reopens a resolved one with the same root; else it is a new incident. An
active incident that nothing continues has merged if its root now belongs to another. Otherwise it is quiet, and
resolved when nothing of it has failed for ``resolve_s`` and nothing is still recovering. While an incident only
shrinks, what is left of it keeps its root for ``resolve_s``: whoever recovers last is not to blame for that.
Flapping is no recovery: the incident is open, and a root that flaps soon after it was resolved reopens it. While
something of it is unknown, it stays as it is.

What people do to an incident stands in ``hands.py``. One that a person closed while it failed stays closed as long
as nothing else fails with it: what failed then is on its shelf until it has passed. ``machine.py`` has every move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from consulguard.correlate.abroad import touching_ours, troubles_abroad
from consulguard.correlate.accuse import Past, standing
from consulguard.correlate.blame import blame
from consulguard.correlate.book import ACTIVE, Book, open_incidents
from consulguard.correlate.cause.changes import forget_changes
from consulguard.correlate.cause.memory import Hints, forget
from consulguard.correlate.coverage import Coverage
from consulguard.correlate.hands import again
from consulguard.correlate.keys import incident_id, root_key
from consulguard.correlate.shelf import Shelf
from consulguard.correlate.unclaimed import Unclaimed
from consulguard.correlate.why import compared, doubts
from consulguard.model import Explanation, Incident, IncidentState, Member, Role, State, Trouble
from consulguard.policy import CorrelatePolicy

CLOSED_MAX = 200  # closed incidents kept; the journal has them all
_STEP = 0.1  # a change of confidence worth telling
_UNSETTLED = (State.FLAPPING, State.UNKNOWN)


def update(book: Book, troubles: Mapping[str, Trouble], at: datetime, policy: CorrelatePolicy) -> list[Incident]:
    """Judge anew and bring the incidents up to date. Returns those whose version rose, the oldest first.

    ``troubles`` is everything that is not passing, by target key.
    """
    if book.at is not None and book.at <= at < book.at + timedelta(seconds=policy.min_interval_s):
        book.pending = True
        return []
    book.at, book.pending = at, False
    troubles = {**troubles, **troubles_abroad(book)} if book.abroad else troubles
    turn = _Turn(book, troubles, at, policy, Coverage.of(book.graph, troubles, policy))
    found = blame(book.graph, troubles, at, policy, _past(book, at) if policy.infer else None)
    turn.run(tuple(touching_ours(book.graph, found)))
    book.troubled = turn.coverage.troubled
    book.failing = _failing_services(book, turn.coverage)
    _drop_old(book, at, policy)
    return sorted(turn.told.values(), key=lambda incident: (incident.opened_at, incident.id))


def _past(book: Book, at: datetime) -> Past:
    forget(book.trails, at.timestamp())
    forget_changes(book.changes, at.timestamp())
    roots = standing(incident.root for incident in open_incidents(book))
    return Past(book.trails, roots, Hints(book.calls, book.changes, book.doors))


def _failing_services(book: Book, coverage: Coverage) -> dict[str, str]:
    """Those that fail as a whole, also where a person closed the incident for now."""
    fails = (State.CRITICAL, State.VANISHED)
    told = [(m, m.state) for incident in open_incidents(book) for m in incident.members]
    told += [(m, coverage.state(m)) for key in book.shelf for m in book.incidents[key].members]
    return {
        member.target.key: member.name
        for member, state in told
        if member.kind == "service" and member.role is not Role.AT_RISK and state in fails
    }


def _drop_old(book: Book, at: datetime, policy: CorrelatePolicy) -> None:
    closed = sorted(
        (i for i in book.incidents.values() if i.state not in ACTIVE and i.id not in book.shelf),
        key=lambda i: (i.resolved_at or i.updated_at, i.id),
    )
    oldest = at - timedelta(seconds=policy.reopen_s)
    surplus = len(closed) - CLOSED_MAX
    for position, incident in enumerate(closed):
        if position < surplus or (incident.resolved_at or incident.updated_at) < oldest:
            del book.incidents[incident.id]
            book.covers.pop(incident.id, None)


@dataclass(slots=True)
class _Turn:
    """One update. ``told`` collects what changed in a way worth telling."""

    book: Book
    troubles: Mapping[str, Trouble]
    at: datetime
    policy: CorrelatePolicy
    coverage: Coverage
    told: dict[str, Incident] = field(default_factory=dict)
    now: dict[str, str] = field(default_factory=dict)  # failing thing -> the incident that covers it now
    shelf: Shelf = field(init=False)

    def run(self, explanations: tuple[Explanation, ...]) -> None:
        self.shelf = Shelf(self.book, self.troubles)
        active = {incident.id: incident for incident in open_incidents(self.book)}
        unclaimed = Unclaimed(explanations, [self.coverage.keys(e.members) for e in explanations])
        abating = {key for key, incident in active.items() if self._abates(incident, unclaimed)}
        self.shelf.claim(unclaimed)
        explanations = unclaimed.rest()
        matched = self._match(explanations, active)
        resolved = self._resolved() if len(matched) < len(explanations) else {}
        for position, explanation in enumerate(explanations):
            self._explained(explanation, matched.get(position), resolved)
        continued = abating | set(matched.values())
        for key, incident in active.items():
            if key not in continued:
                self._unexplained(incident)
        self._flapping_again()

    # ---- who continues whom

    def _abates(self, old: Incident, unclaimed: Unclaimed) -> bool:
        """Whether the incident only shrinks, its root being well again or never seen to fail. Claims the rest."""
        covered = set(self.book.covers.get(old.id, ()))
        mine = unclaimed.within(covered)
        things = {thing for n in mine for thing in unclaimed.things[n]}
        if not mine or unclaimed.names(old.root) or things == covered:
            self.book.abating.pop(old.id, None)
            return False
        since = self.book.abating.setdefault(old.id, self.at)
        if self.at >= since + timedelta(seconds=self.policy.resolve_s):
            return False
        unclaimed.claim(mine)
        self.now.update(dict.fromkeys(sorted(things), old.id))
        self.book.quiet.pop(old.id, None)
        self.book.holds.pop(old.id, None)
        members = tuple(self._present(member) for member in old.members)
        self._put(old, msgspec.structs.replace(old, state=IncidentState.OPEN, members=members))
        return True

    def _match(self, explanations: tuple[Explanation, ...], active: Mapping[str, Incident]) -> dict[int, str]:
        """Position of an explanation -> id of the active incident it continues."""
        by_root = {root_key(incident.root): key for key, incident in reversed(list(active.items()))}
        matched: dict[int, str] = {}
        for position, explanation in enumerate(explanations):
            if (found := by_root.pop(root_key(explanation.root), None)) is not None:
                matched[position] = found
        holders: dict[str, list[str]] = {}
        for key in active.keys() - set(matched.values()):
            for thing in self.book.covers.get(key, ()):
                holders.setdefault(thing, []).append(key)
        pairs = []
        for position, explanation in enumerate(explanations):
            if position not in matched and holders:
                things = self.coverage.keys(explanation.members)
                shared = Counter(key for thing in things for key in holders.get(thing, ()))
                pairs += [(-count, active[key].opened_at, key, position) for key, count in shared.items()]
        taken: set[str] = set()
        for _, _, key, position in sorted(pairs):
            if key not in taken and position not in matched:
                matched[position] = key
                taken.add(key)
        return matched

    def _resolved(self) -> dict[str, Incident]:
        """Root -> its newest resolved incident that may be reopened."""
        oldest = self.at - timedelta(seconds=self.policy.reopen_s)
        resolved = [
            (incident.resolved_at, incident.id, incident)
            for incident in self.book.incidents.values()
            if incident.state is IncidentState.RESOLVED
            and ((incident.resolved_at and incident.resolved_at >= oldest) or incident.id in self.book.shelf)
        ]
        return {
            root_key(incident.root): incident for _, _, incident in sorted(resolved, key=lambda item: item[:2])
        }

    # ---- what becomes of each

    def _explained(self, explanation: Explanation, key: str | None, resolved: dict[str, Incident]) -> None:
        things = self.coverage.keys(explanation.members)
        old = self.book.incidents[key] if key is not None else resolved.pop(root_key(explanation.root), None)
        if old is None and (shelved := self.shelf.nearest(things)) is not None:
            old = resolved.pop(root_key(self.book.incidents[shelved].root), None)
        new = self._opened(explanation) if old is None else self._continued(old, explanation)
        self.book.covers[new.id] = things
        for thing in things:
            self.now.setdefault(thing, new.id)
        self.book.quiet.pop(new.id, None)
        self.book.holds.pop(new.id, None)
        self._put(old, new)

    def _opened(self, explanation: Explanation) -> Incident:
        return Incident(
            id=incident_id(explanation.root, self.at),
            state=IncidentState.OPEN,
            root=explanation.root,
            confidence=explanation.confidence,
            members=explanation.members,
            why=explanation.why,
            opened_at=self.at,
            updated_at=self.at,
            root_since=self.at,
            alternatives=explanation.alternatives,
            unknown=explanation.unknown,
        )

    def _continued(self, old: Incident, explanation: Explanation) -> Incident:
        reopened = old.state is IncidentState.RESOLVED
        same = explanation.root == old.root and not reopened
        self.book.shelf.pop(old.id, None)
        if same and self.policy.infer and not explanation.inferred:  # its evidence is too old to judge anew
            explanation = msgspec.structs.replace(
                explanation,
                confidence=old.confidence,
                why=old.why,
                alternatives=old.alternatives,
                unknown=old.unknown,
            )
        return msgspec.structs.replace(
            again(old) if reopened else old,
            state=IncidentState.OPEN,
            root=explanation.root,
            confidence=explanation.confidence,
            members=explanation.members,
            why=explanation.why,
            root_since=old.root_since if same else self.at,
            kept_by="",
            kept_why="",
            alternatives=explanation.alternatives,
            unknown=explanation.unknown,
        )

    def _unexplained(self, old: Incident) -> None:
        if (heir := self._heir(old)) is not None:
            merged = msgspec.structs.replace(
                old, state=IncidentState.MERGED, merged_into=heir, kept_by="", kept_why=""
            )
            self._close(merged)
            return
        covered = self.book.covers.get(old.id, [])
        states = {self.troubles[thing].state for thing in covered if thing in self.troubles}
        members = tuple(self._present(member) for member in old.members)
        if states.intersection(_UNSETTLED):
            self.book.quiet[old.id], self.book.holds[old.id] = self.at, True
            state = IncidentState.OPEN if State.FLAPPING in states else old.state
            self._put(old, msgspec.structs.replace(old, state=state, members=members))
            return
        since = self.book.quiet.setdefault(old.id, self.at)
        if old.kept_by:
            self.book.holds[old.id] = True
            self._put(old, msgspec.structs.replace(old, members=members))
            return
        if State.RECOVERING in states:
            self.book.holds[old.id] = True
        else:
            self.book.holds.pop(old.id, None)
            if self.at >= since + timedelta(seconds=self.policy.resolve_s):
                over = {"state": IncidentState.RESOLVED, "resolved_at": self.at}
                self._close(msgspec.structs.replace(old, members=members, **over))
                return
        self._put(old, msgspec.structs.replace(old, state=IncidentState.RECOVERING, members=members))

    def _heir(self, old: Incident) -> str | None:
        """The incident that now covers the root of this one.

        A root that is no failing thing by itself (a place, a hidden service) is where what it covered is.
        """
        roots = [member for member in old.members if member.role is Role.ROOT_CAUSE]
        hidden = any(member.state is State.PASSING for member in roots)
        inferred = old.state is IncidentState.OPEN and (hidden or old.root.kind in ("node", "zone"))
        things = self.coverage.keys(roots) + (self.book.covers.get(old.id, []) if inferred else [])
        heirs = Counter(self.now[thing] for thing in things if thing in self.now)
        return min(heirs, key=lambda key: (-heirs[key], self.book.incidents[key].opened_at, key), default=None)

    def _flapping_again(self) -> None:
        """A resolved root that flaps was not resolved."""
        flapping = {key for key, trouble in self.troubles.items() if trouble.state is State.FLAPPING}
        oldest = self.at - timedelta(seconds=self.policy.reopen_s)
        for old in list(self.book.incidents.values()) if flapping else ():
            if old.state is not IncidentState.RESOLVED or (old.resolved_at or self.at) < oldest:
                continue
            covered = self.book.covers.get(old.id, [])
            fresh = flapping.intersection(covered) - self.shelf.known
            if fresh and not any(thing in self.now for thing in covered):
                self.book.quiet[old.id], self.book.holds[old.id] = self.at, True
                self.book.shelf.pop(old.id, None)
                new = msgspec.structs.replace(
                    again(old),
                    members=tuple(self._present(member) for member in old.members),
                    root_since=self.at,
                )
                self._put(old, new)

    # ---- bookkeeping

    def _present(self, member: Member) -> Member:
        """The member as it is now that nothing fails: its own state, or passing."""
        state = self.coverage.state(member)
        return member if state is member.state else msgspec.structs.replace(member, state=state, since=self.at)

    def _close(self, incident: Incident) -> None:
        self.book.abating.pop(incident.id, None)
        self.book.quiet.pop(incident.id, None)
        self.book.holds.pop(incident.id, None)
        self._put(self.book.incidents[incident.id], incident)

    def _put(self, old: Incident | None, new: Incident) -> None:
        """Keep the newer; raise the version if people would want to know."""
        if old is not None and not _worth_telling(old, new):
            self.book.incidents[new.id] = _as_said(old, new)
            return
        if old is not None:
            new = msgspec.structs.replace(new, version=old.version + 1, updated_at=self.at)
        self.book.incidents[new.id] = self.told[new.id] = new


def _worth_telling(old: Incident, new: Incident) -> bool:
    """Another state, root, set of members with their roles and states, a step of confidence, or something else
    that has become likelier than the root, or no longer is.
    """
    if old.state is not new.state or old.root != new.root or abs(old.confidence - new.confidence) > _STEP - 1e-9:
        return True
    if (old.likelier is None) is not (new.likelier is None):
        return True
    return old.members != new.members and _members(old) != _members(new)


def _as_said(old: Incident, new: Incident) -> Incident:
    """What is new, with the chances that were told, in sentences as in numbers."""
    fresh = {*doubts(new.root, new.confidence, new.unknown), *compared(new.alternatives)}
    facts = [line for line in new.why if line not in fresh]
    doubt, others = doubts(old.root, old.confidence, old.unknown), compared(old.alternatives)
    said = {"confidence": old.confidence, "unknown": old.unknown, "alternatives": old.alternatives}
    return msgspec.structs.replace(new, why=(*doubt, *facts, *others), **said)


def _members(incident: Incident) -> frozenset[object]:
    return frozenset((m.kind, m.name, m.target, m.role, m.state) for m in incident.members)
