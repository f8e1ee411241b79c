"""What units of other datacenters say of their failing services, as far as ours lean on them.

What is said becomes a failing service without instances: it can be a root, and ours its victims. Nothing is ever
taken for passing because nobody says that it fails: a unit that is not heard of says nothing new, and what it last
said to fail is not known to be well. What fails there and touches nothing of ours is that unit's own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from consulguard.correlate.book import ACTIVE, Abroad, Book
from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import root_target, service_key
from consulguard.correlate.survey import FAILING
from consulguard.model import EdgeFact, EdgesFact, Explanation, Incident, Neighbour, Role, Target, Trouble

NEWS_MAX = 500  # services told to others, the longest failing first
TRUST = 0.9  # of what another unit blames: it sees its own mesh
PROVENANCE = "neighbour"


def hear_of(book: Book, unit: str, failing: tuple[Neighbour, ...], *, lost: bool, at: datetime) -> None:
    """Take a unit's news in: they replace what it said before. ``lost``: there are none, and no more is known."""
    before = book.abroad.get(unit, Abroad())
    book.abroad[unit] = Abroad(failing=before.failing if lost else failing, lost=lost)
    said = [n for n in book.abroad[unit].failing if n.cause is not None and n.cause != n.target]
    edges = tuple(
        EdgeFact(source=n.target, destination=n.cause, provenance=PROVENANCE, trust=TRUST)
        for n in said
        if n.cause is not None
    )
    if edges or f"{PROVENANCE}/{unit}" in book.graph.edge_facts:
        book.graph.learn((EdgesFact(source=f"{PROVENANCE}/{unit}", edges=edges, at=at),))


def lose_sight(book: Book) -> None:
    """A new life: what was last said may be old by now."""
    for said in book.abroad.values():
        said.lost = True


def troubles_abroad(book: Book) -> dict[str, Trouble]:
    """As the survey reads them: a service that fails as one. The graph is told which they are."""
    lost = {service_key(one.target): said.lost for said in book.abroad.values() for one in said.failing}
    every = {service_key(one.target): one for said in book.abroad.values() for one in said.failing}
    book.graph.abroad = {key: lost[key] for key in sorted(_leaned_on(book.graph, every))}
    return {
        (one := every[key]).target.key: Trouble(
            target=one.target,
            state=one.state,
            since=one.since,
            not_passing_since=one.since,
            output=one.blames,
        )
        for key in book.graph.abroad
    }


def touching_ours(graph: Graph, explanations: Iterable[Explanation]) -> Iterator[Explanation]:
    """Without those that explain nothing of ours."""
    for one in explanations:
        failing = [m for m in one.members if m.role is not Role.AT_RISK]
        if any(m.target.key not in graph.abroad for m in failing):
            yield one


def news(book: Book) -> tuple[Neighbour, ...]:
    """Our own failing services, for the others, with what they are blamed on."""
    found: dict[str, Neighbour] = {}
    for incident in book.incidents.values():
        if incident.state in ACTIVE:
            found |= {one.target.key: one for one in _failing(incident) if one.target.key not in book.graph.abroad}
    return tuple(sorted(found.values(), key=lambda one: (one.since, one.target))[:NEWS_MAX])


def _failing(incident: Incident) -> Iterator[Neighbour]:
    root = incident.root
    blamed = root_target(root).of_service() if root.kind == "service" else None
    for member in incident.members:
        if member.kind == "service" and member.role is not Role.AT_RISK and member.state in FAILING:
            own = member.target == blamed
            yield Neighbour(
                target=member.target,
                state=member.state,
                since=member.since,
                cause=None if own else blamed,
                blames="" if own else f"{root.kind} {root.name}",
            )


def _leaned_on(graph: Graph, said: Mapping[str, Neighbour]) -> set[str]:
    """Those that something outside of their own unit calls, and what these are blamed on."""
    found = {
        key for key, one in said.items() if any(_foreign(graph, one.target, e.caller) for e in graph.callers(key))
    }
    ring = found
    while ring:
        causes = {service_key(one.cause) for key in ring if (one := said[key]).cause is not None}
        ring = {key for key in causes if key in said} - found
        found |= ring
    return found


def _foreign(graph: Graph, target: Target, caller: str) -> bool:
    other = graph.target(caller)
    return other is not None and (other.dc, other.partition) != (target.dc, target.partition)
