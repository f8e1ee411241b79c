"""What a new life makes of a run the last one left under way."""

from consulguard.events import LeaseChanged, Started
from consulguard.model import IncidentState, Mode, Outcome, RunState, State, Status
from consulguard.policy import CorrelatePolicy, HealthPolicy, Policy

from tests.core.engine.world import Do, Probe, World, instance, moment


def new_life(w: World, second: float, epoch: int = 2) -> list:
    """The events a process begins with; the effects of all of them."""
    told = w.feed(LeaseChanged(at=moment(second), held=False, epoch=epoch - 1))
    told += w.feed(Started(at=moment(second), life="x", version="1"))
    return told + w.feed(LeaseChanged(at=moment(second), held=True, epoch=epoch))


def in_the_restart_step() -> World:
    """The first step is done, the second, which is not idempotent, is on its way."""
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE)
    w.confirm(66, Status.MAINTENANCE)
    assert [d[0] for d in w.done()] == ["0/1", "1/1"]
    return w


def test_what_the_last_life_saw_is_no_reason_to_act():
    w = World()
    w.to_first_effect()
    new_life(w, 70)
    assert not w.state.view.trusted
    w.view(71, settled=False)
    assert [d[0] for d in w.done()] == ["0/1"], "done again before anything was read and settled"
    w.view(73)
    assert [d[0] for d in w.done()] == ["0/1", "0/1"], "and at once when it was"


def test_a_probe_that_died_with_its_life_is_made_again():
    w = in_the_restart_step()
    told = new_life(w, 70)
    assert [type(e) for e in told if isinstance(e, Do | Probe)] == [Probe]
    told = new_life(w, 80, epoch=3)
    assert [type(e) for e in told if isinstance(e, Do | Probe)] == [Probe]
    w.result(81, Outcome.UNKNOWN)
    assert w.run.state is RunState.HELD


def test_what_a_probe_proved_undone_is_tried_anew():
    w = in_the_restart_step()
    w.result(70, Outcome.UNKNOWN, "timeout")
    w.result(71, Outcome.RETRY, "looked again: it did not happen")
    w.wait(72, 85)
    w.confirm(86, Status.MAINTENANCE)
    assert [d[0] for d in w.done()] == ["0/1", "1/1", "1/2"]


def test_a_second_try_that_reached_nobody_says_nothing_about_the_first():
    """A new attempt id would let a receiver that knows the first do it twice."""
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.UNKNOWN, "timeout")
    second = 66.0
    for _ in range(3):
        w.result(second, Outcome.RETRY, "refused")
        w.wait(second + 1, second + 60)
        second += 61
    assert {d[0] for d in w.done()} == {"0/1"}
    assert len(w.done()) == 4
    assert isinstance(w.last(Probe), Probe)
    w.result(second, Outcome.UNKNOWN)
    assert w.run.state is RunState.HELD


def test_a_second_try_that_gets_through_goes_on():
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.UNKNOWN, "timeout")
    w.result(66, Outcome.RETRY, "refused")
    w.wait(67, 80)
    w.result(81, Outcome.DONE)
    assert w.run.state is RunState.CONFIRMING
    w.confirm(82, Status.MAINTENANCE)
    assert [d[0] for d in w.done()] == ["0/1", "0/1", "0/1", "1/1"]


def test_a_run_that_ends_after_its_incident_is_told_to_its_end():
    quick = Policy(mode=Mode.AUTO, health=HealthPolicy(recovery_s=5), correlate=CorrelatePolicy(resolve_s=5))
    w = World(policy=quick)
    w.to_first_effect()
    for second in (65, 67, 69):
        w.result(second, Outcome.DONE, index=100 + second)
        if w.run.state is RunState.CONFIRMING:
            w.confirm(second + 1, Status.MAINTENANCE, index=100)
    w.see(71, instance("c"), Status.PASSING)
    w.wait(72, 90)
    assert w.incident.state is IncidentState.RESOLVED
    for second in (91, 93, 95):
        w.look(second, Status.PASSING, 500)
    assert w.run.state is RunState.DONE
    last = w.told(w.incident.id)[-1]
    assert dict(last.facts)["Run"] == "done"
    assert last.thread == ("verified: 3 good looks in a row",)


def test_what_recovered_while_nobody_looked_is_told_resolved():
    w = World()
    w.fail(1)
    w.wait(3, 20)
    new_life(w, 30)
    w.see(31, instance("c"), Status.PASSING)
    w.wait(32, 120)
    assert w.incident.state is IncidentState.RESOLVED
    assert [m.severity for m in w.told(w.incident.id)][-1] == "resolved"
    assert w.done() == []
    assert State.PASSING in {m.state for m in w.incident.members}


def test_a_new_epoch_without_a_loss_told_in_between_is_a_new_start() -> None:
    """Whoever held the lease in between may have acted: what was under way is unknown; nothing goes out as old."""
    w = World()
    w.to_first_effect()
    w.feed(LeaseChanged(at=moment(70), held=True, epoch=3))
    again = w.last(Do).intent
    assert "the process ended before the outcome was written down" in w.run.log
    assert (again.id, again.epoch) == (f"{w.run.id}/0/1", 3)


def test_the_lease_told_again_changes_nothing() -> None:
    w = World()
    w.to_first_effect()
    w.feed(LeaseChanged(at=moment(70), held=True, epoch=1))
    assert w.run.sent
    assert len(w.done()) == 1


def test_what_was_to_be_done_again_and_is_well_before_that_is_left_to_a_person_at_once() -> None:
    """Nothing asks for the effect any more, and nobody knows whether it happened: that is said, not kept open."""
    quick = Policy(mode=Mode.AUTO, health=HealthPolicy(recovery_s=5), correlate=CorrelatePolicy(resolve_s=5))
    w = World(policy=quick)
    w.to_first_effect()
    new_life(w, 70)
    w.see(71, instance("c"), Status.PASSING)
    for second in range(72, 90):
        w.view(second, settled=False)
    assert w.incident.state is IncidentState.RESOLVED
    w.wait(90, 95)
    assert [d[0] for d in w.done()] == ["0/1"]
    assert w.run.state is RunState.HELD
    facts = dict(w.told(w.incident.id)[-1].facts)
    assert facts["Run"] == "held"
    assert facts["Because"] == "what failed is well again, and nobody knows whether this happened"
