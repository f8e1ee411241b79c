"""What playbooks may match: the members of an incident with all that is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consulguard.correlate.book import Book
from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import node_key, node_key_of, service_key
from consulguard.correlate.survey import FAILING
from consulguard.model import Incident, Member, Role, State, Subject, Trouble
from consulguard.policy import Policy


def subjects(
    book: Book, incident: Incident, troubles: Mapping[str, Trouble], policy: Policy | None = None
) -> tuple[Subject, ...]:
    """The root at its own scope, a root service's failing instances at scope instance, and the other members.

    Order: the root, its instances, then the others by ``since`` and key. ``troubles`` as in the last ``update``.
    What is not the ``policy``'s own to act upon is not among them: another unit leads it.
    """
    teller = _Teller(book, troubles)
    ours = [m for m in incident.members if policy is None or policy.ours(m.target)]
    roots = [m for m in ours if m.role is Role.ROOT_CAUSE]
    others = [m for m in ours if m.role is not Role.ROOT_CAUSE]
    others.sort(key=lambda m: (m.since, m.target.key, m.kind))
    instances = [s for m in roots if m.kind == "service" for s in teller.instances(m)]
    return (*map(teller.member, roots), *instances, *map(teller.member, others))


def root_subject(book: Book, incident: Incident, troubles: Mapping[str, Trouble]) -> Subject | None:
    """The root alone, at its own scope."""
    root = next((m for m in incident.members if m.role is Role.ROOT_CAUSE), None)
    return _Teller(book, troubles).member(root) if root is not None else None


def healthy(book: Book, key: str, troubles: Mapping[str, Trouble]) -> int:
    """Registered instances of a service that simply pass: not failing, not planned away, not on a dead node."""
    fact = book.graph.fact(key)
    if fact is None:
        return 0
    own: set[tuple[str, str]] = set()
    fronts: set[str] = set()
    for trouble in _of_service(book, key, troubles):
        left = trouble.state is State.VANISHED and trouble.since <= fact.at  # not among the registered any more
        if service_key(trouble.target) != key:
            fronts.add(node_key(trouble.target))
        elif not left:
            own.add((node_key(trouble.target), trouble.target.instance))
    touched = {node for node, _ in own}
    bad = len(own) + len(fronts - touched)
    for name in fact.nodes if book.troubled.get("") else ():
        node = node_key_of(fact.target, name)
        if (whole := troubles.get(node)) is not None and whole.state not in (State.WARNING, State.RECOVERING):
            here = sum(at == node for at, _ in own) or int(node in fronts)
            bad += max(book.graph.units(node).get(key, 1) - here, 0)
    return max(max(fact.count, len(fact.instances or ())) - bad, 0)


def _of_service(book: Book, key: str, troubles: Mapping[str, Trouble]) -> list[Trouble]:
    return [found for name in book.troubled.get(key, ()) if (found := troubles.get(name)) is not None]


class _Teller:
    """Turns members into subjects; counts each service once."""

    def __init__(self, book: Book, troubles: Mapping[str, Trouble]) -> None:
        self.book = book
        self.graph: Graph = book.graph
        self.troubles = troubles
        self.counts: dict[str, tuple[int, int, tuple[str, ...]]] = {}

    def member(self, member: Member) -> Subject:
        """The member at its own scope."""
        if member.kind == "service":
            return self._service(member)
        trouble = self.troubles.get(member.target.key)
        if member.kind == "instance":
            return self._instance(member, trouble)
        return self._place(member, trouble if member.kind == "node" else None)

    def instances(self, member: Member) -> list[Subject]:
        """A root service's failing instances, the longest failing first."""
        mine = self._failing(service_key(member.target))
        mine.sort(key=lambda t: (t.since, t.target.key))
        return [
            self._instance(
                Member(
                    kind="instance",
                    name=t.target.instance,
                    role=member.role,
                    state=t.state,
                    since=t.since,
                    target=t.target,
                ),
                t,
            )
            for t in mine
        ]

    def _failing(self, key: str) -> list[Trouble]:
        return [t for t in _of_service(self.book, key, self.troubles) if t.state in FAILING]

    def _counts(self, key: str) -> tuple[int, int, tuple[str, ...]]:
        """Expected, healthy, and the failing services it depends on."""
        if (found := self.counts.get(key)) is None:
            failing = self.book.failing
            leans_on = tuple(sorted({failing[callee] for callee in self.graph.callees(key) if callee in failing}))
            expected = self.graph.expected(key, self.book.at)
            found = self.counts[key] = (expected, healthy(self.book, key, self.troubles), leans_on)
        return found

    def _service(self, member: Member) -> Subject:
        key = service_key(member.target)
        expected, well, leans_on = self._counts(key)
        fact = self.graph.fact(key)
        failing = sorted(self._failing(key), key=lambda t: (-t.looks, t.target.key))
        worst = failing[(len(failing) - 1) // 2] if failing else None
        return Subject(
            target=member.target,
            scope="service",
            role=member.role,
            state=member.state,
            since=member.since,
            looks=worst.looks if worst else 1,  # at least half of its failing instances were seen so this often
            tags=fact.tags if fact else (),
            meta=fact.meta if fact else {},
            checks=_checks(failing),
            output=worst.output if worst else "",
            kind=fact.kind if fact else "",
            expected=expected,
            healthy=well,
            depends_on_failing=leans_on,
        )

    def _instance(self, member: Member, trouble: Trouble | None) -> Subject:
        own = self.graph.fact(service_key(member.target))
        detail = self.graph.instance(member.target)
        expected, well, leans_on = self._counts(self.graph.owner(service_key(member.target)))
        return Subject(
            target=member.target,
            scope="instance",
            role=member.role,
            state=member.state,
            since=member.since,
            looks=trouble.looks if trouble else 1,
            zone=self.graph.zone(node_key(member.target)),
            tags=detail.tags if detail else own.tags if own else (),
            meta=detail.meta if detail else own.meta if own else {},
            checks=trouble.checks if trouble else (),
            output=trouble.output if trouble else "",
            kind=own.kind if own else "",
            expected=expected,
            healthy=well,
            depends_on_failing=leans_on,
        )

    def _place(self, member: Member, trouble: Trouble | None) -> Subject:
        node = self.graph.nodes.get(node_key(member.target)) if member.kind == "node" else None
        return Subject(
            target=member.target,
            scope=member.kind,
            role=member.role,
            state=member.state,
            since=member.since,
            looks=trouble.looks if trouble else 1,
            zone=member.name if member.kind == "zone" else node.zone if node else "",
            meta=node.meta if node else {},
            checks=trouble.checks if trouble else (),
            output=trouble.output if trouble else "",
        )


def _checks(troubles: Iterable[Trouble]) -> tuple[str, ...]:
    return tuple(sorted({check for trouble in troubles for check in trouble.checks}))
