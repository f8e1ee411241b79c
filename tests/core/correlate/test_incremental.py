"""A judgement that was kept up, flip by flip and fact by fact, is the one that is made from scratch."""

from __future__ import annotations

import msgspec
from consulguard.correlate import Book, Verdict, learn, measure, remember, suspects, update
from consulguard.correlate.cause.layout import layout
from consulguard.correlate.cause.memory import Hints
from consulguard.model import (
    CallRate,
    EdgesFact,
    Fact,
    InstanceFact,
    NodeFact,
    Observation,
    ServiceFact,
    State,
    Status,
    Target,
    Trouble,
)
from consulguard.policy import CorrelatePolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.correlate.world import at, edges, graph, inst, node, place, service, sidecar, svc

POLICY = CorrelatePolicy(infer=True)
NAMES = ["a", "b", "c", "d", "e"]
NODES = ["n1", "n2", "n3"]
META = [{}, {"version": "2"}, {"consulguard-check-interval": "5m"}]
STATES = {
    Status.WARNING: State.WARNING,
    Status.CRITICAL: State.CRITICAL,
    Status.ABSENT: State.VANISHED,
    Status.MAINTENANCE: State.MAINTENANCE,
}
SEEN = [Status.PASSING, *STATES]


class Kept:
    """A book that lives on, and what is not passing."""

    def __init__(self) -> None:
        self.book, self.troubles, self.seconds = Book(), dict[str, Trouble](), 0.0

    def learn(self, *facts: Fact) -> None:
        learn(self.book, facts, at(self.seconds))

    def see(self, target: Target, check: str, status: Status) -> None:
        look = Observation(target=target, check=check, status=status, output="", index=1, at=at(self.seconds))
        remember(self.book, [look])
        if status is Status.PASSING:
            self.troubles.pop(target.key, None)
        else:
            now = at(self.seconds)
            found = Trouble(target=target, state=STATES[status], since=now, not_passing_since=now)
            self.troubles.setdefault(target.key, found)

    def judged(self) -> tuple[Verdict, bytes]:
        return _judged(self.book, self.troubles, self.seconds)

    def judged_from_scratch(self) -> tuple[Verdict, bytes]:
        """By one that has just read all this, as after a restart."""
        fresh = msgspec.msgpack.decode(msgspec.msgpack.encode(self.book), type=Book)
        return _judged(fresh, self.troubles, self.seconds)


def _judged(book: Book, troubles: dict[str, Trouble], seconds: float) -> tuple[Verdict, bytes]:
    hints = Hints(book.calls, book.changes, book.doors)
    verdict = suspects(book.graph, book.trails.values(), at(seconds).timestamp(), hints=hints)
    update(book, troubles, at(seconds), POLICY)
    return verdict, msgspec.json.encode(book)


names, places = st.sampled_from(NAMES), st.sampled_from(NODES)


@st.composite
def services(draw: st.DrawFn) -> ServiceFact:
    """Some are not read in detail, some have no checks, some are slow, some have left."""
    name, where = draw(names), draw(st.lists(places, unique=True, max_size=3))
    fact = service(name, *draw(st.lists(names, unique=True, max_size=2)), nodes=where, count=len(where))
    fact = msgspec.structs.replace(fact, meta=draw(st.sampled_from(META)), gone=draw(st.integers(0, 5)) == 0)
    if (checks := draw(st.sampled_from([None, 0, 1, 1]))) is None:
        return fact
    read = tuple(
        InstanceFact(target=inst(name, at_node), status=Status.PASSING, checks=checks) for at_node in where
    )
    return msgspec.structs.replace(fact, instances=read)


@st.composite
def nodes(draw: st.DrawFn) -> NodeFact:
    name = draw(places)
    here = [inst(s, name) for s in draw(st.lists(names, unique=True, max_size=3))]
    fact = place(name, draw(st.sampled_from(["", "east", "west"])), *here)
    return msgspec.structs.replace(fact, gone=draw(st.integers(0, 5)) == 0)


@st.composite
def told_edges(draw: st.DrawFn) -> EdgesFact:
    found = edges(
        "said", *draw(st.lists(st.tuples(names, names), max_size=4)), trust=draw(st.sampled_from([0.3, 0.8]))
    )
    denied = draw(st.lists(st.tuples(names, names), max_size=1))
    return msgspec.structs.replace(found, denied=tuple((svc(a), svc(b)) for a, b in denied))


sidecars = st.builds(sidecar, st.sampled_from([*NAMES, "a-sidecar-proxy"]), names)
facts = st.lists(st.one_of(services(), services(), sidecars, nodes(), told_edges()), max_size=3)
looks = st.one_of(
    st.tuples(st.builds(inst, names, places), st.sampled_from(["http", "cpu"]), st.sampled_from(SEEN)),
    st.tuples(st.builds(node, places), st.just("serfHealth"), st.sampled_from(SEEN)),
)
rates = st.builds(CallRate, caller=names, callee=names, failed=st.sampled_from([None, 0.0, 0.5]))
turns = st.tuples(st.lists(looks, max_size=5), st.lists(rates, max_size=2), st.floats(1, 400), facts)


@settings(max_examples=150)
@given(st.lists(services(), max_size=8), facts, st.lists(turns, max_size=8))
def test_what_is_kept_up_is_what_is_worked_out_from_scratch(mesh, more, story):
    kept = Kept()
    kept.learn(*mesh, *more)
    for flips, calls, seconds, learned in story:
        for look in flips:
            kept.see(*look)
        measure(kept.book, calls, at(kept.seconds), POLICY)
        kept.seconds += seconds
        kept.learn(*learned)
        from_scratch = kept.judged_from_scratch()
        assert kept.judged() == from_scratch


def test_what_is_learned_of_a_caller_counts_at_once():
    mesh = graph(service("a", "c"), service("b", "c"), service("c"))
    c = svc("c").key

    def leaning(*facts: Fact) -> dict[float, int]:
        mesh.learn(facts)
        return layout(mesh).trusts(c)

    assert leaning() == {0.9: 2}
    assert leaning(service("a", "b")) == {0.9: 1}
    assert leaning(sidecar("a", "c")) == {0.9: 2}
    assert leaning(service("b", "c", meta={"consulguard-check-interval": "5m"})) == {0.9: 1}
    assert leaning(msgspec.structs.replace(service("a"), gone=True)) == {}
