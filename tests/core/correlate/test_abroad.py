"""A root cause in another datacenter, as its unit tells of it."""

from __future__ import annotations

import msgspec
from consulguard.correlate import Book, hear_of, learn, lose_sight, news, open_incidents, subjects, update
from consulguard.model import EdgeFact, EdgesFact, Incident, IncidentState, Neighbour, Role, State, Target, Trouble
from consulguard.policy import CorrelatePolicy, Policy
from hypothesis import given
from hypothesis import strategies as st

from tests.core.correlate.world import at, down, service, svc, troubles

POLICY = CorrelatePolicy(resolve_s=10)
HERE = Policy(datacenter="dc1", partition="default")
API, DB = svc("api", "dc2"), svc("db", "dc2")


def a_book() -> Book:
    """web and shop call dc2's api; lone calls nobody."""
    book = Book()
    links = tuple(
        EdgeFact(source=svc(caller), destination=API, provenance="proxy-upstream", trust=0.9)
        for caller in ("web", "shop")
    )
    facts = [service("web"), service("shop"), service("lone"), EdgesFact(source="test", edges=links, at=at(0))]
    learn(book, facts, at(0))
    return book


def fails(target: Target, cause: Target | None = None, blames: str = "", seconds: float = 1) -> Neighbour:
    return Neighbour(target=target, state=State.CRITICAL, since=at(seconds), cause=cause, blames=blames)


def hear(book: Book, *said: Neighbour, lost: bool = False) -> None:
    hear_of(book, "dc2", said, lost=lost, at=at(2))


def failing(*names: str) -> dict[str, Trouble]:
    return troubles(*(trouble for name in names for trouble in down(name, seconds=3)))


def judged(book: Book, *names: str, seconds: float = 5) -> list[Incident]:
    update(book, failing(*names), at(seconds), POLICY)
    return open_incidents(book)


def roots(incidents: list[Incident]) -> set[tuple[str, str]]:
    return {(i.root.datacenter, i.root.name) for i in incidents}


def test_it_is_named_and_ours_are_affected() -> None:
    book = a_book()
    hear(book, fails(API))
    [incident] = judged(book, "web", "shop")
    assert roots([incident]) == {("dc2", "api")}
    assert {(m.name, m.role) for m in incident.members} == {
        ("api", Role.ROOT_CAUSE),
        ("web", Role.AFFECTED),
        ("shop", Role.AFFECTED),
    }
    assert incident.why[0] == "dc2 says that api fails there, since 12:00:01Z."
    assert incident.confidence > 0.5


def test_what_it_is_blamed_on_there_is_blamed_here() -> None:
    book = a_book()
    hear(book, fails(API, cause=DB, blames="service db", seconds=2), fails(DB))
    [incident] = judged(book, "web")
    assert roots([incident]) == {("dc2", "db")}
    assert {m.name for m in incident.members if m.role is Role.AFFECTED} == {"api", "web"}


def test_a_place_there_is_told_in_words() -> None:
    book = a_book()
    hear(book, fails(API, blames="node n7"))
    [incident] = judged(book, "web")
    assert "dc2 blames node n7." in incident.why


def test_without_news_nobody_there_is_blamed() -> None:
    assert roots(judged(a_book(), "web")) == {("dc1", "web")}


def test_what_touches_nothing_of_ours_is_not_our_incident() -> None:
    book = a_book()
    hear(book, fails(API), fails(svc("other", "dc2")))
    assert judged(book) == []
    assert roots(judged(book, "lone", seconds=6)) == {("dc1", "lone")}


def test_news_that_come_before_we_know_who_calls_count_all_the_same() -> None:
    book = Book()
    hear(book, fails(API))
    learn(book, a_book().graph.services.values(), at(3))
    learn(book, a_book().graph.edge_facts.values(), at(3))
    assert roots(judged(book, "web")) == {("dc2", "api")}


def test_old_news_are_unknown_and_not_passing() -> None:
    book = a_book()
    hear(book, fails(API))
    judged(book, "web")
    hear(book, lost=True)
    [incident] = judged(book, "web", seconds=70)
    assert roots([incident]) == {("dc2", "api")}  # ours is not to blame because nobody says anything
    root = next(m for m in incident.members if m.role is Role.ROOT_CAUSE)
    assert root.state is State.UNKNOWN
    assert any("whether it still fails is not known" in sentence for sentence in incident.why)
    hear(book)
    judged(book, "web", seconds=75)
    assert roots(judged(book, "web", seconds=90)) == {("dc1", "web")}  # what is left of it, after its time


def test_a_new_life_begins_without_knowing() -> None:
    book = msgspec.json.decode(msgspec.json.encode(a_book()), type=Book)
    hear(book, fails(API))
    lose_sight(book)
    [incident] = judged(book, "web")
    assert [m.state for m in incident.members if m.role is Role.ROOT_CAUSE] == [State.UNKNOWN]


def test_it_is_over_when_ours_are_well_whatever_is_said() -> None:
    book = a_book()
    hear(book, fails(API))
    judged(book, "web")
    judged(book, seconds=6)
    judged(book, seconds=30)
    assert [i.state for i in book.incidents.values()] == [IncidentState.RESOLVED]


def test_what_we_tell_is_ours_alone() -> None:
    book = a_book()
    hear(book, fails(API))
    judged(book, "web", "lone")
    told = {one.target.service: (one.cause, one.blames) for one in news(book)}
    assert told == {"web": (API, "service api"), "lone": (None, "")}


NAMES = st.sampled_from(["api", "db", "web", "cache"])
SAID = st.builds(
    Neighbour,
    target=st.builds(Target, dc=st.sampled_from(["dc2", "dc3"]), service=NAMES),
    state=st.sampled_from([State.CRITICAL, State.VANISHED]),
    since=st.integers(0, 4).map(at),
    cause=st.none() | st.builds(Target, dc=st.sampled_from(["dc1", "dc2", "dc3"]), service=NAMES),
    blames=st.text(max_size=5),
)


@given(st.lists(SAID, max_size=6), st.booleans(), st.sets(st.sampled_from(["web", "shop", "lone"])))
def test_nothing_of_another_unit_is_ever_offered_to_a_playbook(
    said: list[Neighbour], lost: bool, ours: set[str]
) -> None:
    book = a_book()
    hear(book, *said)
    hear_of(book, "dc3", (), lost=lost, at=at(2))
    fails_here = failing(*sorted(ours))
    update(book, fails_here, at(5), POLICY)
    for incident in open_incidents(book):
        for subject in subjects(book, incident, fails_here, HERE):
            assert subject.target.dc == "dc1"
        assert any(m.target.dc == "dc1" for m in incident.members)
