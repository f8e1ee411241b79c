"""``playbook run --dry-run``: the one door of the engine, on a state that is thrown away."""

from consulguard.app import ordered

from tests.core.engine.test_manual import order, world


def test_a_dry_run_goes_the_same_way_and_shows_the_plan_it_refuses():
    """Through ``step``, as the daemon would: the same answer, and the plan stays to be looked at."""
    w, real = world(), world()
    for each in (w, real):
        each.fail(1)
        each.wait(3, 40)
    state, reply = ordered(w.state, "by-hand", "c")
    said = order(real, 38)
    assert (reply.ok, reply.blocked, reply.text) == (said.ok, said.blocked, said.text)
    assert reply.incident == w.incident.id
    plan = state.plans[reply.incident]
    assert plan.playbook.id == "by-hand"
    assert {s.verdict.guard for s in plan.steps[:1]} == {"hold_down"}
    assert state.runs == {}
