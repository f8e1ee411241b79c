"""Which causes could bring each other down."""

from __future__ import annotations

from itertools import product

from consulguard.correlate.cause.stories import Entity
from consulguard.correlate.keys import node_key, service_key, zone_key
from consulguard.correlate.related import related

from tests.core.correlate.world import graph, inst, node, place, service, svc

MESH = graph(
    place("n1", "z1", inst("web", "n1")),
    place("n2", "z1", inst("mail", "n2")),
    place("n3", "z2", inst("db", "n3")),
    service("web", "cart", nodes=("n1",)),
    service("cart", "db"),
    service("db", nodes=("n3",)),
    service("mail", nodes=("n2",)),
)
SERVICES: dict[str, Entity] = {name: ("service", service_key(svc(name))) for name in ("web", "cart", "db", "mail")}
NODES: dict[str, Entity] = {name: ("node", node_key(node(name))) for name in ("n1", "n2", "n3")}
ZONES: dict[str, Entity] = {name: ("zone", zone_key(node("n1"), name)) for name in ("z1", "z2")}
ALL = SERVICES | NODES | ZONES
RELATED = {
    frozenset(pair.split())
    for pair in (
        "web cart",
        "web db",
        "cart db",
        "web n1",
        "mail n2",
        "db n3",
        "web n3",
        "cart n3",
        "web z1",
        "mail z1",
    )
} | {frozenset(pair.split()) for pair in ("web z2", "cart z2", "db z2", "n1 z1", "n2 z1", "n3 z2")}


def test_what_calls_the_other_or_stands_where_it_matters_is_related_either_way() -> None:
    for (a, one), (b, other) in product(ALL.items(), repeat=2):
        assert a == b or related(MESH, one, other) is (frozenset((a, b)) in RELATED), (a, b)
