"""While the view is in doubt, only what lasts becomes an incident."""

from consulguard.events import Woke
from consulguard.model import Outcome, Status

from tests.core.engine.world import World, instance, moment


def doubted() -> World:
    world = World()
    world.view(5)
    world.view(10, trusted=False)
    return world


def test_what_recovers_meanwhile_never_was_one():
    world = doubted()
    world.fail(11)
    world.see(15, instance("c"), Status.PASSING)
    world.view(30)
    world.wait(31, 120)
    assert not world.state.book.incidents


def test_what_still_fails_when_trust_is_back_is_one_at_once():
    world = doubted()
    world.fail(11)
    world.view(15, trusted=False)
    assert not world.state.book.incidents
    world.view(16)
    assert world.incident.root.name == "c"


def test_a_doubt_that_stays_does_not_silence_for_good():
    world = doubted()
    world.fail(11)
    for second in range(12, 24):
        world.feed(Woke(at=moment(second)))
    assert world.incident.root.name == "c"


def test_an_incident_of_before_stays():
    world = World()
    world.fail(1)
    before = world.incident.id
    world.view(5, trusted=False)
    world.see(6, instance("b"), Status.CRITICAL)
    world.wait(60, 61)
    assert world.state.book.incidents[before].state.value == "open"


def test_what_became_a_victim_while_it_was_worked_on_is_left_to_its_culprit():
    """b-0 is being repaired; then c, which b calls, fails, and nobody knows whether the repair happened."""
    w = World()
    w.fail(1, instance("b"))
    w.wait(3, 63)
    w.confirm(64)
    assert [d[0] for d in w.done()] == ["0/1"]
    for number in (0, 1):
        w.fail(66, instance("c", number))
    w.fail(68, instance("b", 1))
    w.wait(70, 75)
    w.result(76, Outcome.UNKNOWN, "timeout")
    w.wait(77, 100)
    assert [d[0] for d in w.done()] == ["0/1"]
    assert "c, which fails too and comes first" in next(v.reason for v in w.run.verdicts if v.guard == "role")
