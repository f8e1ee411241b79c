"""What the engine asks of the book, besides keeping it."""

from __future__ import annotations

from collections.abc import Mapping

from consulguard.correlate.book import ACTIVE, Book
from consulguard.correlate.keys import node_key, root_target, service_key
from consulguard.correlate.subjects import healthy
from consulguard.model import Incident, Target, Trouble


def find(book: Book, incident_id: str) -> Incident | None:
    """The incident, or the one it was merged into; None when the book has forgotten it."""
    incident = book.incidents.get(incident_id)
    while incident is not None and incident.merged_into:
        incident = book.incidents.get(incident.merged_into)
    return incident


def describes(book: Book, target: Target) -> bool:
    """Whether the target's service was read in detail (upstreams, sidecars), or, for a node, is known at all."""
    if not target.service:
        return node_key(target) in book.graph.nodes
    fact = book.graph.services.get(service_key(target))
    return fact is not None and fact.instances is not None


def callers(book: Book, service: Target, depth: int) -> tuple[Target, ...]:
    """Services that use this one, directly or over at most ``depth`` edges, nearest first, then by key."""
    seen = {service_key(service)}
    ring, found = [service_key(service)], []
    for _ in range(depth):
        ring = sorted({e.caller for key in ring for e in book.graph.callers(key)} - seen)
        seen.update(ring)
        found += [book.graph.index.targets[key] for key in ring if key in book.graph.index.targets]
    return tuple(found)


def instances(book: Book, service: str) -> tuple[Target, ...]:
    """Every instance, in detail, of the services of this name; empty where they were not read in detail."""
    facts = (fact for key, fact in sorted(book.graph.services.items()) if fact.target.service == service)
    return tuple(found.target for fact in facts for found in fact.instances or ())


def hosts_most(book: Book, node: str) -> bool:
    """Whether at least half of the services have an instance on the node of this name."""
    services = book.graph.services.values()
    here = sum(node in fact.nodes for fact in services)
    return 2 * here >= max(1, len(services))


def on_node(book: Book, node: Target, troubles: Mapping[str, Trouble]) -> tuple[tuple[str, int, int, int], ...]:
    """(service, expected, healthy, serving on this node) of each service on the node; empty where not known.

    A node that is in trouble itself serves nothing.
    """
    fact = book.graph.nodes.get(node_key(node))
    if fact is None or fact.instances is None:
        return ()
    dead = node.of_node().key in troubles
    serving: dict[str, int] = {}
    for instance in fact.instances:
        key = service_key(instance)
        serving[key] = serving.get(key, 0) + int(not dead and instance.key not in troubles)
    names = {service_key(i): i.service for i in fact.instances}
    return tuple(
        (names[key], book.graph.expected(key), healthy(book, key, troubles), serving[key])
        for key in sorted(serving)
    )


def explained(book: Book, troubles: Mapping[str, Trouble], confident: float) -> frozenset[str]:
    """Keys of the troubles a confident service root explains: those it drags down, not its own."""
    found: set[str] = set()
    for incident in book.incidents.values():
        if incident.state not in ACTIVE or incident.root.kind != "service" or incident.confidence < confident:
            continue
        own = root_target(incident.root).of_service()
        for key in book.covers.get(incident.id, ()):
            trouble = troubles.get(key)
            if trouble is not None and trouble.target.of_service() != own:
                found.add(key)
    return frozenset(found)
