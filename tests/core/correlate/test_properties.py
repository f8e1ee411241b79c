"""What must hold for every mesh and every set of troubles, and how fast."""

from __future__ import annotations

import random

import msgspec
from consulguard.correlate import Book, Graph, blame, learn, open_incidents, root_key, subjects, topology, update
from consulguard.correlate.accuse import entity_of
from consulguard.correlate.cycles import components
from consulguard.model import EdgesFact, Fact, NodeFact, Role, ServiceFact, State, Trouble
from hypothesis import given
from hypothesis import strategies as st

from tests.core.correlate.world import (
    POLICY,
    T0,
    at,
    bad,
    down,
    edges,
    graph,
    inst,
    judged,
    node,
    place,
    roots,
    service,
    sidecar,
    svc,
    troubles,
)

NAMES = [f"s{i}" for i in range(6)]
NODES = [f"n{i}" for i in range(4)]
FAILS = [State.CRITICAL, State.VANISHED]


@st.composite
def meshes(draw: st.DrawFn) -> tuple[list[Fact], list[Trouble]]:
    """Up to six services on four nodes in two zones, with sidecars, intentions, and anything wrong."""
    facts: list[Fact] = [place(name, draw(st.sampled_from(["", "east", "west"]))) for name in NODES]
    found: list[Trouble] = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1)):
        calls = draw(st.lists(st.sampled_from([*NAMES, "ghost"]), unique=True, max_size=3))
        where = draw(st.lists(st.sampled_from(NODES), unique=True, min_size=1))
        facts.append(service(name, *calls, count=len(where), nodes=where))
        if draw(st.booleans()):
            facts.append(sidecar(name, *draw(st.lists(st.sampled_from(NAMES), max_size=2))))
        for at_node in draw(st.lists(st.sampled_from(where), unique=True)):
            found.append(
                bad(inst(name, at_node), draw(st.integers(0, 50)), draw(st.sampled_from(list(State)[1:])))
            )
    pairs = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))
    facts.append(edges("weak", *draw(st.lists(pairs, max_size=4)), trust=draw(st.sampled_from([0.1, 0.5]))))
    for at_node in draw(st.lists(st.sampled_from(NODES), unique=True, max_size=2)):
        found.append(bad(node(at_node), draw(st.integers(0, 50)), draw(st.sampled_from(FAILS))))
    return facts, found


@given(meshes(), st.randoms(use_true_random=False))
def test_the_order_of_facts_and_troubles_changes_nothing(
    mesh: tuple[list[Fact], list[Trouble]], dice: random.Random
):
    facts, found = mesh
    told = judged(graph(*facts), *found)
    dice.shuffle(facts)
    dice.shuffle(found)
    assert judged(graph(*facts), *found) == told


@given(meshes())
def test_a_healthy_stranger_changes_nothing(mesh: tuple[list[Fact], list[Trouble]]):
    facts, found = mesh
    stranger = (service("stranger", "friend"), service("friend"), sidecar("stranger", "friend"))
    assert judged(graph(*facts, *stranger), *found) == judged(graph(*facts), *found)


@given(meshes())
def test_a_mesh_where_nothing_fails_blames_nobody(mesh: tuple[list[Fact], list[Trouble]]):
    facts, found = mesh
    assert judged(graph(*facts), *(t for t in found if t.state not in FAILS)) == ()


@given(meshes())
def test_everything_that_fails_is_explained_and_told_soberly(mesh: tuple[list[Fact], list[Trouble]]):
    facts, found = mesh
    told = judged(graph(*facts), *found)
    planned = {t.target.node for t in found if t.state is State.MAINTENANCE and not t.target.service}
    failing = [t for t in found if t.state in FAILS and t.target.node not in planned]
    named = {m.target.key for e in told for m in e.members if m.role is not Role.AT_RISK}
    for trouble in failing:
        service_named = trouble.target.service and trouble.target.of_service().key in named
        assert trouble.target.key in named or service_named
    for e in told:
        assert 0 < e.confidence <= 1
        assert 1 <= len(e.why) <= 8
        assert [m.role for m in e.members].count(Role.ROOT_CAUSE) == 1
        assert len({(m.kind, m.target.key) for m in e.members}) == len(e.members)
    assert len({root_key(e.root) for e in told}) == len(told)


@given(meshes(), st.randoms(use_true_random=False))
def test_learning_bit_by_bit_is_the_same_as_learning_the_end(
    mesh: tuple[list[Fact], list[Trouble]], dice: random.Random
):
    """Facts that came and went leave no trace in the edges."""
    facts, _ = mesh
    made = Graph()
    noise = [service(name, *dice.sample(NAMES, 3)) for name in NAMES] + [sidecar(name, *NAMES) for name in NAMES]
    noise.append(edges("weak", *((a, b) for a in NAMES for b in NAMES)))
    for fact in dice.sample(noise, len(noise)):
        made.learn([fact])
        made.callees(svc("s0").key)
    kept = {f.target.key for f in facts if isinstance(f, ServiceFact)}
    made.learn(facts)
    made.learn(
        msgspec.structs.replace(f, gone=True)
        for f in noise
        if isinstance(f, ServiceFact) and f.target.key not in kept
    )
    fresh = graph(*facts)
    again = msgspec.json.decode(msgspec.json.encode(made), type=Graph)
    for key in fresh.index.targets:
        assert made.callees(key) == fresh.callees(key) == again.callees(key)
        assert made.callers(key) == fresh.callers(key) == again.callers(key)
    assert made.index.targets.keys() == fresh.index.targets.keys()


@given(meshes(), st.data())
def test_incidents_keep_their_books_whatever_happens(mesh: tuple[list[Fact], list[Trouble]], data: st.DataObject):
    facts, found = mesh
    book = Book()
    learn(book, facts, T0)
    versions: dict[str, int] = {}
    for turn in range(4):
        now = troubles(*data.draw(st.lists(st.sampled_from(found), unique=True)) if found else ())
        again = msgspec.json.decode(msgspec.json.encode(book), type=Book)
        told = update(book, now, at(turn * 25), POLICY)
        assert update(again, now, at(turn * 25), POLICY) == told
        assert again == book
        # a standing root stays its service where a fresh look would name one instance
        explained = {entity_of(e.root) for e in blame(book.graph, now, at(turn * 25), POLICY)}
        active = open_incidents(book)
        assert explained <= {entity_of(i.root) for i in active} or book.abating.keys() & {i.id for i in active}
        assert len({i.id for i in active}) == len(active)
        for incident in told:
            assert incident.version == versions.get(incident.id, 0) + 1
            versions[incident.id] = incident.version
            for subject in subjects(book, incident, now):
                assert subject.healthy >= 0
        assert not set(book.quiet) - {i.id for i in active}
        topology(book, now)


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 9), max_size=4)))
def test_components_are_mutually_reachable_and_in_order(links: dict[int, list[int]]):
    named = {str(a): [str(b) for b in there] for a, there in links.items()}

    def reach(start: str) -> set[str]:
        met, work = {start}, [start]
        while work:
            for there in named.get(work.pop(), ()):
                if there in named and there not in met:
                    met.add(there)
                    work.append(there)
        return met

    found = components(named)
    assert sorted(v for group in found for v in group) == sorted(named)
    position = {v: i for i, group in enumerate(found) for v in group}
    for a in named:
        for b in reach(a):
            assert position[b] <= position[a]
            assert (position[a] == position[b]) == (a in reach(b))


# ---- size


def test_a_chain_of_ten_thousand_needs_no_recursion():
    facts = [service(f"s{i}", f"s{i + 1}") for i in range(9_999)]
    mesh = graph(*facts, service("s9999"))
    (told,) = judged(mesh, *(t for i in range(10_000) for t in down(f"s{i}")))
    assert roots([told]) == ["service:s9999"]
    ring = graph(*facts, service("s9999", "s0"))
    assert len(judged(ring, *(t for i in range(10_000) for t in down(f"s{i}", seconds=i % 7)))) == 1
    book = Book(graph=ring)
    assert len(topology(book, {}, "s5").services) == 10_000


def fleet(services: int) -> list[Fact]:
    dice = random.Random(7)
    return [
        service(
            f"s{i}",
            *{f"s{dice.randrange(i)}" for _ in range(3) if i},
            count=5,
            nodes=[f"n{dice.randrange(services // 2)}" for _ in range(5)],
        )
        for i in range(services)
    ]


def test_facts_of_other_kinds_are_replaced_not_added():
    mesh = graph(edges("x", ("a", "b")), edges("x", ("a", "c")), place("n1", "east"))
    assert list(mesh.callees(svc("a").key)) == [svc("c").key]
    mesh.learn([EdgesFact(source="x", edges=(), at=T0), NodeFact(target=node("n1"), gone=True, at=T0)])
    assert mesh.callees(svc("a").key) == {}
    assert mesh.zones() == {}
    assert mesh.index.targets == {}
