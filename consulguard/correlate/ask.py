"""What the engine asks of the book, besides keeping it."""

from __future__ import annotations

from collections.abc import Mapping

from consulguard.correlate.book import ACTIVE, Book
from consulguard.correlate.keys import root_target, service_key
from consulguard.model import Incident, Target, Trouble


def find(book: Book, incident_id: str) -> Incident | None:
    """The incident, or the one it was merged into; None when the book has forgotten it."""
    incident = book.incidents.get(incident_id)
    while incident is not None and incident.merged_into:
        incident = book.incidents.get(incident.merged_into)
    return incident


def callers(book: Book, service: Target, depth: int) -> tuple[Target, ...]:
    """Services that use this one, directly or over at most ``depth`` edges, nearest first, then by key."""
    seen = {service_key(service)}
    ring, found = [service_key(service)], []
    for _ in range(depth):
        ring = sorted({e.caller for key in ring for e in book.graph.callers(key)} - seen)
        seen.update(ring)
        found += [book.graph.index.targets[key] for key in ring if key in book.graph.index.targets]
    return tuple(found)


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
