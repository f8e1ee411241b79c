"""What was changed: a service that was touched shortly before it failed is likelier to be at fault.

Told from the facts as they come: tags, meta and instances of a service, its configuration entries, intentions to
it. What was not known before has not changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from consulguard.correlate.cause.memory import KEEP_S, Change
from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import service_key
from consulguard.model import EdgesFact, Fact, InstanceFact, ServiceFact, Target

MOST = 3  # kept per service
SERVICES_MAX = 2_000  # that changed within a quarter of an hour
INTENTIONS, ENTRIES = "intentions", "config/"  # sources of edges
_SHOWN = re.compile(r"[\w.+-]{1,40}", re.ASCII)


def notice_changes(changes: dict[str, list[Change]], graph: Graph, fact: Fact, now: float) -> None:
    """Compare the fact with what the graph still says, before it is learned."""
    found: dict[str, str] = {}
    if isinstance(fact, ServiceFact):
        old = graph.fact(service_key(fact.target))
        if old is not None and not fact.gone and (what := _of_service(old, fact)):
            found[graph.owner(service_key(fact.target))] = what
    elif isinstance(fact, EdgesFact) and (before := graph.edge_facts.get(fact.source)) is not None:
        found = _of_edges(before, fact)
    for key, what in found.items():
        if key in changes or len(changes) < SERVICES_MAX:
            changes[key] = [*changes.get(key, ())[-MOST + 1 :], Change(at=now, what=what)]


def forget_changes(changes: dict[str, list[Change]], now: float) -> None:
    for key in [key for key, told in changes.items() if told[-1].at < now - KEEP_S]:
        del changes[key]


def _of_service(old: ServiceFact, new: ServiceFact) -> str:
    told = []
    if old.index and new.index:  # both were read, not only listed
        versions = old.meta.get("version", ""), new.meta.get("version", "")
        if all(versions) and versions[0] != versions[1]:
            shown = all(_SHOWN.fullmatch(version) for version in versions)
            told.append("its version changed" + (f" from {versions[0]} to {versions[1]}" if shown else ""))
        elif old.meta != new.meta:
            told.append("its meta changed")
    if replaced := _replaced(old.instances or (), new.instances or ()):
        told.append(f"{replaced} of its instances {'was' if replaced == 1 else 'were'} replaced")
    if old.tags and new.tags and set(old.tags) != set(new.tags):
        told.append("its tags changed")
    return " and ".join(told)


def _replaced(old: Iterable[InstanceFact], new: Iterable[InstanceFact]) -> int:
    """Instances that stand where others stood."""
    before, after = {i.target.key for i in old}, {i.target.key for i in new}
    return min(len(before - after), len(after - before))


def _of_edges(old: EdgesFact, new: EdgesFact) -> dict[str, str]:
    """By the service whose entry or intention it is. What only follows from who is registered is no change."""
    if new.source == INTENTIONS:
        return {service_key(callee): "an intention to it was edited" for _, callee, _ in _ends(old) ^ _ends(new)}
    if not new.source.startswith(ENTRIES):
        return {}
    kind = new.source.removeprefix(ENTRIES)
    return {service_key(owner): f"its {kind} was edited" for owner, _, _ in _ends(old) ^ _ends(new)}


def _ends(fact: EdgesFact) -> set[tuple[Target, Target, bool]]:
    allowed = {(edge.source, edge.destination, True) for edge in fact.edges}
    return allowed | {(caller, callee, False) for caller, callee in fact.denied}
