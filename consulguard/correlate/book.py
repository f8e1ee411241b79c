"""What correlate remembers: the graph and the incidents. It has one owner, who journals it whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from consulguard.correlate.cause.changes import notice_changes
from consulguard.correlate.cause.doors import Door
from consulguard.correlate.cause.memory import Call, Change, Trail, hear, notice
from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import node_key, service_key
from consulguard.model import CallRate, Fact, Incident, IncidentState, Neighbour, Observation
from consulguard.policy import CorrelatePolicy

_YOUNG_S = 120.0  # an incident this young is judged again ...
_AGAIN_S = 15.0  # ... this often, though nothing happens
ACTIVE = (IncidentState.OPEN, IncidentState.RECOVERING)


class Abroad(msgspec.Struct, kw_only=True):
    """What one other unit last said."""

    failing: tuple[Neighbour, ...] = ()
    lost: bool = False  # it has not been heard of for a while


class Book(msgspec.Struct, kw_only=True):
    graph: Graph = msgspec.field(default_factory=Graph)
    incidents: dict[str, Incident] = {}  # by id, the closed ones too for a while
    covers: dict[str, list[str]] = {}  # incident id -> keys of the failing things it explains, or last explained
    quiet: dict[str, datetime] = {}  # incident id -> since when nothing of it fails
    abating: dict[str, datetime] = {}  # incident id -> since when it only shrinks, its root being well
    holds: dict[str, bool] = {}  # quiet, but something of it is recovering, flapping or unknown
    troubled: dict[str, list[str]] = {}  # service key ("": nodes) -> trouble keys, as of the last update
    failing: dict[str, str] = {}  # key -> name of the services that fail as a whole, as of the last update
    trails: dict[str, Trail] = {}  # check -> its last flips, where the policy infers
    calls: dict[str, Call] = {}  # how services' calls to others fare, where that is measured
    abroad: dict[str, Abroad] = {}  # another unit -> what it last said of its services
    changes: dict[str, list[Change]] = {}  # service -> what was changed of it, for a while
    doors: dict[str, Door] = {}  # service -> how it met a probe, where it may be probed
    knocks: list[float] = []  # when probes were asked for, of the last minute
    at: datetime | None = None  # the last update
    shelf: dict[str, list[str]] = {}  # closed by a person -> what failed then and has not passed since
    pending: bool = False  # an update was put off because the last one was too recent


def learn(book: Book, facts: Iterable[Fact], at: datetime) -> None:
    """Take facts about the mesh in. ``at`` is the event's moment; each fact carries that of its reading."""
    for fact in facts:
        notice_changes(book.changes, book.graph, fact, at.timestamp())
        book.graph.learn((fact,))


def open_incidents(book: Book) -> list[Incident]:
    """Open and recovering incidents, the oldest first."""
    active = [incident for incident in book.incidents.values() if incident.state in ACTIVE]
    return sorted(active, key=lambda incident: (incident.opened_at, incident.id))


def next_wake(book: Book, policy: CorrelatePolicy) -> datetime | None:
    """When ``update`` must be called even if nothing happens: a hold-down ends, or an update was put off."""
    ends = [
        since + timedelta(seconds=policy.resolve_s) for key, since in book.quiet.items() if key not in book.holds
    ]
    ends += [since + timedelta(seconds=policy.resolve_s) for since in book.abating.values()]
    if policy.infer and book.at is not None and any(_young(i, book.at) for i in open_incidents(book)):
        ends.append(book.at + timedelta(seconds=max(_AGAIN_S, policy.min_interval_s)))
    if book.pending and book.at is not None:
        ends.append(book.at + timedelta(seconds=policy.min_interval_s))
    return min(ends, default=None)


def _young(incident: Incident, at: datetime) -> bool:
    """Whether time alone may still tell more of it: what lasts is no blip."""
    return incident.state is IncidentState.OPEN and at < incident.opened_at + timedelta(seconds=_YOUNG_S)


def remember(book: Book, looks: Iterable[Observation]) -> None:
    """Take looks at checks into their trails."""
    notice(book.trails, looks)


def measure(book: Book, rates: Iterable[CallRate], at: datetime, policy: CorrelatePolicy) -> None:
    """Take measured calls in."""
    hear(book.calls, rates, at.timestamp(), policy.failed_calls)


def graph_at(book: Book, incident: Incident) -> datetime | None:
    """The oldest read among the facts about the incident's members; None when nothing is known of them."""
    read: list[datetime] = []
    for member in incident.members:
        target, graph = member.target, book.graph
        known = graph.services.get(service_key(target)) if target.service else graph.nodes.get(node_key(target))
        if known is not None:
            read.append(known.at)
    return min(read, default=None)
