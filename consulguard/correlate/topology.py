"""The graph for people and programs: services with their health, edges with where they are known from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from consulguard.correlate.book import Book
from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import node_key, service_key
from consulguard.correlate.survey import FAILING
from consulguard.model import State, Target, Trouble, Value
from consulguard.policy import CorrelatePolicy

ABSENT = "absent"  # named by an edge, registered nowhere
_SHARE = CorrelatePolicy().service_share
_SOFT = (State.FLAPPING, State.UNKNOWN, State.RECOVERING)


class ServiceNode(Value, frozen=True, kw_only=True, omit_defaults=False):
    name: str
    kind: str
    state: str
    instances: dict[str, int]  # state -> how many


class TopologyEdge(Value, frozen=True, kw_only=True, rename={"source": "from", "destination": "to"}):
    source: str
    destination: str
    provenance: str
    trust: float


class Topology(Value, frozen=True, kw_only=True, omit_defaults=False):
    as_of: datetime | None  # the newest reading in it
    services: tuple[ServiceNode, ...]
    edges: tuple[TopologyEdge, ...]


def topology(book: Book, troubles: Mapping[str, Trouble], service: str | None = None) -> Topology:
    """The whole graph, or what ``service`` depends on and what depends on it, however far.

    Sidecars are folded into the services they front. Names carry what tells them apart from the local default:
    ``name.namespace.partition~peer@dc``, each part only where it differs. Edges of any trust are shown.
    """
    graph = book.graph
    names = _names(graph)
    if service is not None:
        start = [key for key, name in names.items() if service in (name, graph.index.targets[key].service)]
        around = _reachable(start, graph.index.callees) | _reachable(start, _callers(graph))
        names = {key: name for key, name in names.items() if key in around}
    edges = [edge for key in names for edge in graph.index.edges(key).values() if edge.callee in names]
    linked = {key for edge in edges for key in (edge.caller, edge.callee)}
    shown = [key for key in names if graph.fact(key) is not None or key in linked]
    ill = _not_passing(graph, troubles)
    facts = [fact for fact in map(graph.fact, shown) if fact is not None]
    return Topology(
        as_of=max((fact.at for fact in facts), default=None),
        services=tuple(_node(graph, key, names[key], ill.get(key, {})) for key in shown),
        edges=tuple(
            TopologyEdge(
                source=names[e.caller], destination=names[e.callee], provenance=e.provenance, trust=e.trust
            )
            for e in edges
        ),
    )


def to_dot(shown: Topology) -> str:
    """Graphviz. Names are quoted, whatever they contain."""
    lines = ["digraph consul {", "  rankdir=LR;", "  node [shape=box];"]
    for node in shown.services:
        label = f"{node.name}\n{node.state}"
        lines.append(f"  {_dot(node.name)} [label={_dot(label)}, color={_dot(_COLOURS.get(node.state, 'grey'))}];")
    for edge in shown.edges:
        label = f"{edge.provenance} {edge.trust:.2f}"
        lines.append(f"  {_dot(edge.source)} -> {_dot(edge.destination)} [label={_dot(label)}];")
    return "\n".join([*lines, "}", ""])


def to_mermaid(shown: Topology) -> str:
    """A Mermaid flow chart. Names are escaped, and the ids are our own."""
    ids = {node.name: f"s{number}" for number, node in enumerate(shown.services)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[node.name]}["{_mermaid(node.name)}<br/>{_mermaid(node.state)}"]' for node in shown.services]
    lines += [
        f'  {ids[edge.source]} -->|"{_mermaid(edge.provenance)} {edge.trust:.2f}"| {ids[edge.destination]}'
        for edge in shown.edges
    ]
    return "\n".join([*lines, ""])


# ---- inside

_COLOURS = {"passing": "green", "warning": "orange", "recovering": "orange", "critical": "red", "vanished": "red"}


def _dot(text: str) -> str:
    plain = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid(text: str) -> str:
    return "".join(c if c.isalnum() or c in " .-_~@:" else f"#{ord(c)};" for c in text)


def _names(graph: Graph) -> dict[str, str]:
    """Every service that is no sidecar, by name: key -> how it is called."""
    targets = {key: target for key, target in graph.index.targets.items() if key not in graph.index.owner}
    homes = Counter(fact.target.dc for fact in graph.services.values())
    home = min(homes, key=lambda dc: (-homes[dc], dc), default="")
    names = {key: _name(target, home) for key, target in targets.items()}
    return dict(sorted(names.items(), key=lambda item: (item[1], item[0])))


def _name(target: Target, home: str) -> str:
    name = target.service
    if target.partition != "default":
        name += f".{target.namespace}.{target.partition}"
    elif target.namespace != "default":
        name += f".{target.namespace}"
    name += f"~{target.peer}" if target.peer else ""
    return name if target.dc in ("", home) else f"{name}@{target.dc}"


def _callers(graph: Graph) -> Callable[[str], Iterable[str]]:
    return lambda key: [edge.caller for edge in graph.callers(key)]


def _reachable(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    met = set(start)
    work = list(met)
    while work:
        for there in following(work.pop()):
            if there not in met:
                met.add(there)
                work.append(there)
    return met


def _not_passing(graph: Graph, troubles: Mapping[str, Trouble]) -> dict[str, dict[State, int]]:
    """Service -> state -> units; a sidecar counts where no instance of its service on that node does."""
    units: dict[str, dict[tuple[str, str], State]] = {}
    for trouble in sorted(troubles.values(), key=lambda t: service_key(t.target) in graph.index.owner):
        if trouble.target.service:
            key = graph.owner(service_key(trouble.target))
            mine = units.setdefault(key, {})
            node = node_key(trouble.target)
            if service_key(trouble.target) == key:
                mine[node, trouble.target.instance] = trouble.state
            elif not any(at == node for at, _ in mine):
                mine[node, ""] = trouble.state
    return {key: dict(Counter(mine.values())) for key, mine in units.items()}


def _node(graph: Graph, key: str, name: str, ill: Mapping[State, int]) -> ServiceNode:
    fact = graph.fact(key)
    if fact is None and not ill:
        return ServiceNode(name=name, kind="", state=ABSENT, instances={})
    registered = max(fact.count, len(fact.instances or ())) if fact else 0
    passing = max(registered - sum(n for state, n in ill.items() if state is not State.VANISHED), 0)
    counts = {State.PASSING: passing, **ill} if passing else dict(ill)
    return ServiceNode(
        name=name,
        kind=fact.kind if fact else "",
        state=_state(counts).value,
        instances={state.value: counts[state] for state in sorted(counts)},
    )


def _state(counts: Mapping[State, int]) -> State:
    """Critical when half of the units fail (vanished when they all have); worse than passing: a warning."""
    total = sum(counts.values())
    failing = sum(n for state, n in counts.items() if state in FAILING)
    if failing and failing >= _SHARE * total:
        return State.VANISHED if counts.get(State.VANISHED) == total else State.CRITICAL
    if failing or counts.get(State.WARNING):
        return State.WARNING
    if len(counts) == 1:
        return next(iter(counts))
    return next((state for state in _SOFT if counts.get(state)), State.PASSING)
