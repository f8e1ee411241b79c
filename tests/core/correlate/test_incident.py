"""Incidents over time: opening, growing, changing their root, merging, recovering, resolving, reopening."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from consulguard.correlate import Book, graph_at, learn, next_wake, open_incidents, update
from consulguard.model import Fact, Incident, IncidentState, State, Trouble
from consulguard.policy import CorrelatePolicy

from tests.core.correlate.world import POLICY, T0, at, bad, down, inst, node, place, service, troubles

CHAIN = (service("a", "b"), service("b", "c"), service("c"))


class Story:
    """A book with a mesh, told moment by moment."""

    def __init__(self, *facts: Fact, policy: CorrelatePolicy = POLICY) -> None:
        self.book = Book()
        self.policy = policy
        learn(self.book, facts, T0)

    def now(self, seconds: float, found: Iterable[Trouble] = ()) -> list[Incident]:
        """Update at that second, through the journal's eyes: encode and decode the book first."""
        self.book = msgspec.json.decode(msgspec.json.encode(self.book), type=Book)
        return update(self.book, troubles(*found), at(seconds), self.policy)

    def one(self) -> Incident:
        (incident,) = open_incidents(self.book)
        return incident

    def closed(self) -> list[Incident]:
        return [
            i for i in self.book.incidents.values() if i.state in (IncidentState.RESOLVED, IncidentState.MERGED)
        ]


def names(incident: Incident) -> tuple[str, str]:
    return incident.root.kind, incident.root.instance or incident.root.name


def test_a_healthy_mesh_has_no_incident():
    story = Story(*CHAIN)
    assert story.now(0) == []
    assert next_wake(story.book, POLICY) is None


def test_an_incident_opens_grows_and_keeps_its_id():
    story = Story(*CHAIN)
    (opened,) = story.now(0, down("c"))
    assert (opened.version, opened.state, names(opened)) == (1, IncidentState.OPEN, ("service", "c"))
    assert opened.opened_at == opened.root_since == at(0)
    (grown,) = story.now(5, [*down("c"), *down("b", seconds=5)])
    assert (grown.id, grown.version, grown.root_since, grown.updated_at) == (opened.id, 2, at(0), at(5))


def test_nothing_new_is_not_told():
    story = Story(*CHAIN)
    story.now(0, down("c"))
    assert story.now(5, down("c")) == []
    assert story.one().version == 1


def test_the_id_is_that_of_root_and_moment():
    first, second, later = Story(*CHAIN), Story(*CHAIN), Story(*CHAIN)
    assert first.now(0, down("c"))[0].id == second.now(0, down("c"))[0].id != later.now(1, down("c"))[0].id
    assert first.one().id.startswith("inc-")
    assert len(first.one().id) == 14


def test_when_the_root_changes_the_incident_stays_and_its_root_is_young():
    story = Story(*CHAIN)
    story.now(0, down("b"))
    (moved,) = story.now(7, [*down("b"), *down("c", seconds=7)])
    assert (names(moved), moved.root_since, moved.opened_at, moved.version) == (("service", "c"), at(7), at(0), 2)


def test_instances_become_a_service_and_merge():
    story = Story(service("pay", count=5))
    story.now(0, [bad(inst("pay", number=1))])
    story.now(1, [bad(inst("pay", number=n)) for n in (1, 2)])
    first, second = open_incidents(story.book)
    told = story.now(2, [bad(inst("pay", number=n)) for n in (1, 2, 3)])
    assert names(story.one()) == ("service", "pay")
    assert story.one().id == first.id
    (merged,) = story.closed()
    assert (merged.id, merged.state, merged.merged_into) == (second.id, IncidentState.MERGED, first.id)
    assert {i.id for i in told} == {first.id, second.id}


def test_a_cause_that_turns_out_to_be_a_victim_merges():
    story = Story(*CHAIN)
    story.now(0, down("a"))
    story.now(1, [*down("a"), *down("c", seconds=1)])
    assert {names(i)[1] for i in open_incidents(story.book)} == {"a", "c"}
    story.now(2, [*down("a"), *down("c", seconds=1), *down("b", seconds=2)])
    assert names(story.one()) == ("service", "c")
    assert [i.state for i in story.closed()] == [IncidentState.MERGED]
    assert story.closed()[0].merged_into == story.one().id


def test_a_hidden_cause_merges_into_the_cause_that_takes_its_victims():
    story = Story(service("a", "s"), service("b", "s"), service("s", "t"), service("t"), service("x", "t"))
    found = [*down("a"), *down("b")]
    (hidden,) = story.now(0, found)
    assert names(hidden) == ("service", "s")
    story.now(1, [*found, *down("t", seconds=1)])
    found += [*down("t", seconds=1), *down("s", seconds=2)]
    story.now(2, found)
    assert names(story.one()) == ("service", "t")
    assert [i.state for i in story.closed()] == [IncidentState.MERGED]


def test_a_cause_that_recovers_resolves_though_its_victim_fails_for_another():
    story = Story(service("a", "b", "c"), service("b"), service("c"))
    story.now(0, [*down("a"), *down("b", seconds=1)])
    story.now(1, [*down("a"), *down("b", seconds=1), *down("c", seconds=2)])
    story.now(2, [*down("a"), *down("c", seconds=2)])
    by_root = {i.root.name: i.state for i in open_incidents(story.book)}
    assert by_root == {"b": IncidentState.RECOVERING, "c": IncidentState.OPEN}


def test_a_victim_left_alone_when_its_root_recovers_keeps_the_incident():
    story = Story(*CHAIN)
    (opened,) = story.now(0, [*down("b"), *down("c")])
    story.now(9, down("b"))
    assert (story.one().id, names(story.one())) == (opened.id, ("service", "c")), "the last one to recover"
    story.now(38, down("b"))
    assert names(story.one()) == ("service", "c")
    story.now(39, down("b"))
    assert (story.one().id, names(story.one())) == (opened.id, ("service", "b"))


def test_it_resolves_only_when_nothing_has_failed_for_long_enough():
    story = Story(*CHAIN)
    story.now(0, down("c"))
    (quiet,) = story.now(10)
    assert quiet.state is IncidentState.RECOVERING
    assert next_wake(story.book, POLICY) == at(40)
    assert story.now(39.9) == []
    (over,) = story.now(40)
    assert (over.state, over.resolved_at) == (IncidentState.RESOLVED, at(40))
    assert {m.state for m in over.members} == {State.PASSING}
    assert open_incidents(story.book) == []
    assert next_wake(story.book, POLICY) is None


def test_failing_again_before_that_goes_on_as_before():
    story = Story(*CHAIN)
    (opened,) = story.now(0, down("c"))
    story.now(10)
    (again,) = story.now(30, down("c", seconds=30))
    assert (again.id, again.state, again.reopened) == (opened.id, IncidentState.OPEN, 0)
    story.now(31)
    assert next_wake(story.book, POLICY) == at(61)


def test_a_recovering_instance_holds_the_incident():
    story = Story(*CHAIN)
    story.now(0, down("c"))
    recovering = [bad(inst("c"), 5, State.RECOVERING)]
    story.now(5, recovering)
    assert story.one().state is IncidentState.RECOVERING
    assert story.now(500, recovering) == []
    assert next_wake(story.book, POLICY) is None
    assert story.now(501)[0].state is IncidentState.RESOLVED


@pytest.mark.parametrize("state", [State.UNKNOWN, State.FLAPPING])
def test_unknown_and_flapping_are_no_recovery(state: State):
    story = Story(*CHAIN)
    story.now(0, down("c"))
    story.now(5, [bad(inst("c"), 5, state)])
    story.now(5000, [bad(inst("c"), 5, state)])
    assert story.one().state is IncidentState.OPEN
    assert story.one().members[0].state is state
    story.now(5001)
    assert story.one().state is IncidentState.RECOVERING
    assert story.now(5031)[0].state is IncidentState.RESOLVED


def test_within_reopen_s_it_reopens_and_after_it_is_another():
    for seconds, same in ((640, True), (641, False)):
        story = Story(*CHAIN)
        (opened,) = story.now(0, down("c"))
        story.now(10)
        story.now(40)
        (again,) = story.now(seconds, down("c", seconds=seconds))
        assert (again.id == opened.id) is same
        assert again.reopened == int(same)
        assert again.root_since == at(seconds)
        assert again.resolved_at is None


def test_a_resolved_root_that_flaps_reopens():
    story = Story(*CHAIN)
    (opened,) = story.now(0, down("c"))
    story.now(10)
    story.now(40)
    (again,) = story.now(50, [bad(inst("c"), 50, State.FLAPPING)])
    assert (again.id, again.state, again.reopened) == (opened.id, IncidentState.OPEN, 1)
    assert again.members[0].state is State.FLAPPING


def test_maintenance_opens_nothing_and_ends_what_was_open():
    story = Story(*CHAIN)
    planned = [bad(inst("c"), 0, State.MAINTENANCE)]
    assert story.now(0, planned) == []
    story.now(5, down("c"))
    story.now(6, planned)
    assert story.one().state is IncidentState.RECOVERING
    assert story.now(36, planned)[0].state is IncidentState.RESOLVED


def test_a_vanished_root_keeps_the_incident():
    story = Story(*CHAIN)
    (opened,) = story.now(0, down("c"))
    (left,) = story.now(5, [bad(inst("c"), 5, State.VANISHED)])
    assert (left.id, left.state, left.members[0].state) == (opened.id, IncidentState.OPEN, State.VANISHED)
    story.now(3000, [bad(inst("c"), 5, State.VANISHED)])
    assert story.one().id == opened.id


def test_instances_that_turn_out_to_be_a_node_keep_one_incident():
    story = Story(*(service(name, count=3, nodes=("n1", "n2", "n3")) for name in "ab"))
    (opened,) = story.now(0, [bad(inst("a", "n1"))])
    story.now(3, [bad(inst("a", "n1")), bad(inst("b", "n1")), bad(node("n1"), 3)])
    assert (story.one().id, names(story.one())) == (opened.id, ("node", "n1"))


def test_small_steps_of_confidence_are_not_told():
    callers = [service(f"c{i}", "s") for i in range(30)]
    story = Story(service("s"), *callers)
    known = down("s")
    story.now(0, known)
    versions = []
    for i in range(3):
        known += down(f"c{i}", seconds=i)
        story.now(i + 1, known)
        versions.append(story.one().confidence)
    assert len(set(versions)) == 2  # the first victim is a step, one more of thirty callers is not


def test_correlating_can_be_slowed_down():
    slow = CorrelatePolicy(min_interval_s=5.0)
    story = Story(*CHAIN, policy=slow)
    story.now(0)
    assert story.now(1, down("c")) == []
    assert next_wake(story.book, slow) == at(5)
    assert len(story.now(5, down("c"))) == 1


def test_only_so_many_closed_incidents_are_kept():
    story = Story(*(service(f"s{i}") for i in range(300)))
    story.now(0, [t for i in range(300) for t in down(f"s{i}")])
    assert len(open_incidents(story.book)) == 300
    story.now(1)
    assert len(story.now(31)) == 300
    story.now(32)
    assert len(story.book.incidents) == 200
    assert story.book.covers.keys() == story.book.incidents.keys()
    assert story.book.quiet == story.book.holds == {}
    story.now(700)
    assert story.book.incidents == {}


def test_the_age_of_the_graph_is_that_of_the_oldest_fact_about_its_members():
    story = Story(service("c", seconds=50), service("b", "c", seconds=20), place("n-c-1"))
    (incident,) = story.now(60, down("c"))
    assert graph_at(story.book, incident) == at(20)
    (lost,) = Story().now(0, down("x"))
    assert graph_at(Book(), lost) is None
