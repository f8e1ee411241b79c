"""What people do to incidents, and what the mesh does to them afterwards."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from consulguard.correlate import Book, learn, next_wake, open_incidents, subjects, update
from consulguard.correlate.hands import Done, ack, assign, reopen, resolve
from consulguard.correlate.machine import DELTA, FINAL, INITIAL, to_mermaid
from consulguard.model import Incident, IncidentState, State, Trouble
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.correlate.world import POLICY, T0, at, bad, down, inst, service, troubles

MESH = (service("a", "b", count=4), service("b", "c"), service("c", count=4), service("d", count=4))
OPEN, RESOLVED = IncidentState.OPEN, IncidentState.RESOLVED


class Story:
    """A book of which every moment goes through the journal's eyes."""

    def __init__(self) -> None:
        self.book = Book()
        self.found: dict[str, Trouble] = {}
        learn(self.book, MESH, T0)

    def now(self, seconds: float, found: Iterable[Trouble] = ()) -> list[Incident]:
        self.book = msgspec.json.decode(msgspec.json.encode(self.book), type=Book)
        self.found = troubles(*found)
        return update(self.book, self.found, at(seconds), POLICY)

    @property
    def one(self) -> Incident:
        (incident,) = self.book.incidents.values()
        return incident

    def resolve(self, seconds: float, why: str = "known", incident: Incident | None = None) -> Done:
        return resolve(self.book, incident or self.one, ("ann", why), self.found, at(seconds))

    def reopen(self, seconds: float) -> Done:
        return reopen(self.book, self.one, ("bob", "look again"), POLICY, at(seconds))


C1, C2, C3 = (bad(inst("c", number=n)) for n in (1, 2, 3))


def failing() -> Story:
    story = Story()
    story.now(0, [C1])
    return story


def test_an_acknowledgement_lasts_until_it_opens_again():
    story = failing()
    done = ack(story.book, story.one, "ann", at(1))
    assert done.incident == story.one
    assert (story.one.acked_by, story.one.acked_at, story.one.version) == ("ann", at(1), 2)
    assert ack(story.book, story.one, "bob", at(2)).incident is None
    story.now(3, [C1, bad(inst("c", number=2), 3)])
    assert story.one.acked_by == "ann"
    story.now(10)
    story.now(45)
    assert (story.one.state, story.one.acked_by) == (RESOLVED, "ann")
    assert ack(story.book, story.one, "bob", at(46)).incident is None
    story.now(50, [C1, C2])
    assert (story.one.state, story.one.acked_by, story.one.reopened) == (OPEN, "", 1)


def test_it_is_somebodys():
    story = failing()
    assert assign(story.book, story.one, "bob", at(1)).incident is not None
    assert "already" in assign(story.book, story.one, "bob", at(2)).text
    assert story.one.assigned_to == "bob"


def test_what_still_fails_is_closed_only_with_a_reason():
    story = failing()
    refused = story.resolve(5, why="")
    assert (refused.incident, story.one.state) == (None, OPEN)
    assert "needs a reason" in refused.text
    assert story.resolve(6).incident is not None
    assert (story.one.state, story.one.closed_by, story.one.closed_why) == (RESOLVED, "ann", "known")
    assert story.resolve(7).incident is None


def test_what_fails_no_more_is_closed_without_a_word():
    story = failing()
    story.now(5)
    assert story.one.state is IncidentState.RECOVERING
    assert story.resolve(6, why="").incident is not None
    story.now(7, [C1])
    assert (story.one.state, story.one.reopened) == (OPEN, 1), "nothing failed when it was closed"


def test_the_same_failing_on_stays_closed_however_long():
    story = failing()
    story.resolve(5)
    for second in range(6, 4000, 100):
        assert story.now(second, [C1]) == []
    assert story.one.state is RESOLVED
    assert next_wake(story.book, POLICY) is None


def test_a_short_dip_opens_nothing():
    story = failing()
    story.resolve(5)
    story.now(10, [bad(inst("c"), 10, State.RECOVERING)])
    assert story.now(15, [bad(inst("c"), 15)]) == []
    story.now(20, [bad(inst("c"), 20, State.UNKNOWN)])
    assert story.now(25, [bad(inst("c"), 25, State.FLAPPING)]) == []
    assert story.now(30, [C1]) == []
    assert story.one.state is RESOLVED


def test_what_passed_and_fails_again_opens_it_again():
    story = failing()
    story.resolve(5)
    story.now(10)
    assert story.book.shelf == {}
    (told,) = story.now(15, [C1])
    assert (told.id, told.state, told.closed_by) == (story.one.id, OPEN, "")


def test_anything_else_that_fails_with_it_opens_it_again():
    """Even where that makes another thing the root."""
    story = failing()
    story.resolve(5)
    (told,) = story.now(3000, [C1, C2, C3])
    assert (told.id, told.state, told.root.kind, told.reopened) == (story.one.id, OPEN, "service", 1)
    assert story.book.shelf == {}


def test_another_failure_elsewhere_is_an_incident_of_its_own():
    story = failing()
    first = story.one
    story.resolve(5)
    (told,) = story.now(10, [C1, bad(inst("d"), 10)])
    assert told.root.name == "d"
    assert story.book.incidents[first.id].state is RESOLVED


def test_what_a_closed_incident_still_lacks_holds_its_callers_back():
    story = Story()
    story.now(0, down("c", count=4))
    story.resolve(5)
    story.now(10, [*down("c", count=4), *down("b", seconds=10)])
    (incident,) = open_incidents(story.book)
    leans = {s.target.service: s.depends_on_failing for s in subjects(story.book, incident, story.found)}
    assert leans["b"] == ("c",)


def test_a_person_opens_again_what_still_fails():
    story = failing()
    story.resolve(5)
    assert story.reopen(2000).incident is not None, "while what it was closed with still fails"
    assert (story.one.state, story.one.kept_by) == (OPEN, "bob")
    story.now(2001, [C1])
    assert (story.one.state, story.one.kept_by) == (OPEN, "")
    story.now(2002)
    story.now(2100)
    assert story.one.state is RESOLVED


def test_a_person_keeps_open_what_does_not_fail():
    story = failing()
    story.now(5)
    story.now(40)
    assert story.one.state is RESOLVED
    assert story.reopen(50).incident is not None
    for second in range(51, 2000, 100):
        story.now(second)
    assert story.one.state is OPEN
    assert next_wake(story.book, POLICY) is None
    assert story.resolve(2001, why="").incident is not None
    assert story.one.state is RESOLVED


def test_what_a_person_keeps_open_is_kept_no_more_when_another_incident_takes_it_over():
    story, caller = failing(), bad(inst("b", number=2))
    (kept,) = story.book.incidents
    story.now(5)
    story.now(40)
    story.now(41, [caller])
    reopen(story.book, story.book.incidents[kept], ("bob", "look again"), POLICY, at(42))
    story.now(43, [caller, C1, C2])
    merged = story.book.incidents[kept]
    assert (merged.state, merged.kept_by, merged.kept_why) == (IncidentState.MERGED, "", "")


def test_what_is_long_over_or_still_open_is_not_reopened():
    story = failing()
    assert story.reopen(1).incident is None
    story.now(5)
    story.now(40)
    assert story.reopen(40 + POLICY.reopen_s + 1).incident is None


def test_the_machine_is_whole_and_drawn():
    assert set(DELTA) == set(IncidentState)
    reached, edge = {INITIAL}, {INITIAL}
    while edge:
        edge = {then for state in edge for then in DELTA[state].values()} - reached
        reached |= edge
    assert reached == set(IncidentState), "every state can be reached"
    assert set(DELTA[IncidentState.MERGED]) == set()
    assert set(FINAL) <= reached
    picture = to_mermaid()
    assert "open --> resolved: lasted, resolve" in picture
    assert "resolved --> open: fails, reopen" in picture


THINGS = [inst(name, number=n) for name in "bcd" for n in (1, 2)]
WORDS = st.sampled_from(["", "", "ack", "assign", "resolve", "resolve because", "reopen"])
TURNS = st.lists(
    st.tuples(st.integers(1, 60), st.dictionaries(st.integers(0, 5), st.sampled_from(list(State)[1:])), WORDS),
    max_size=10,
)


@settings(max_examples=150)
@given(TURNS)
def test_whatever_people_and_the_mesh_do_the_books_are_right(turns):
    story, seconds = Story(), 0.0
    moves = {(was, now) for was, row in DELTA.items() for now in row.values()}
    versions: dict[str, int] = {}
    for gap, bads, word in turns:
        seconds += gap
        before = {i.id: i.state for i in story.book.incidents.values()}
        told = story.now(seconds, [bad(THINGS[n], seconds, state) for n, state in bads.items()])
        check(story, before, moves)
        for incident in told:
            assert incident.version == versions.get(incident.id, 0) + 1
            versions[incident.id] = incident.version
        before = {i.id: i.state for i in story.book.incidents.values()}
        for incident in list(story.book.incidents.values())[:1]:
            done = command(story, incident, word, seconds)
            if done is not None and done.incident is not None:
                versions[incident.id] = done.incident.version
                assert done.incident.version == incident.version + 1
            elif done is not None:
                assert story.book.incidents[incident.id] == incident
                assert done.text
        check(story, before, moves)


def command(story: Story, incident: Incident, word: str, seconds: float) -> Done | None:
    match word.split():
        case ["ack"]:
            return ack(story.book, incident, "ann", at(seconds))
        case ["assign"]:
            return assign(story.book, incident, "bob", at(seconds))
        case ["resolve", *why]:
            return story.resolve(seconds, " ".join(why), incident)
        case ["reopen"]:
            return reopen(story.book, incident, ("bob", ""), POLICY, at(seconds))
    return None


def check(story: Story, before: dict[str, IncidentState], moves: set[tuple[IncidentState, IncidentState]]) -> None:
    book = story.book
    for incident in book.incidents.values():
        was = before.get(incident.id, INITIAL)
        assert was is incident.state or (was, incident.state) in moves, (was, incident.state)
        assert (incident.resolved_at is not None) is (incident.state is RESOLVED)
        assert not incident.kept_by or incident.state is OPEN
    active = {i.id for i in open_incidents(book)}
    assert set(book.quiet) <= active
    assert set(book.holds) <= set(book.quiet)
    for closed, things in book.shelf.items():
        assert book.incidents[closed].state is RESOLVED
        assert book.incidents[closed].closed_by
        assert things
