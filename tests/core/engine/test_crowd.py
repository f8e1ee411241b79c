"""With many incidents open not all is worked out at every turn, but nothing stays old for long."""

from datetime import timedelta

from consulguard import correlate
from consulguard.engine import step
from consulguard.engine.planning import FEW, PLANNED_A_SECOND
from consulguard.events import AnyEvent, Commanded, Learned, Observed, Wake, Woke
from consulguard.model import InstanceFact, Observation, ServiceFact, Status, Target

from tests.core.engine.world import World, moment

MANY = FEW + 20


def lone(number: int) -> Target:
    """Instances that have nothing in common."""
    return Target(dc="dc1", service=f"s{number}", node=f"m{number}", instance=f"s{number}-0")


def crowd() -> World:
    """As many incidents, told in one answer, of a fleet so large that this is no storm."""
    w = World()
    w.view(0, instances=10_000)
    targets = [lone(number) for number in range(MANY)]
    facts = [
        ServiceFact(
            target=t.of_service(), count=1, nodes=(t.node,), instances=(InstanceFact(target=t),), at=moment(0)
        )
        for t in targets
    ]
    w.feed(Learned(at=moment(0), facts=tuple(facts)))
    failing = [Observation(target=t, check="up", status=Status.CRITICAL, at=moment(1), index=2) for t in targets]
    w.feed(Observed(at=moment(1), observations=tuple(failing)))
    assert len(correlate.open_incidents(w.state.book)) == MANY
    return w


def wakes(w: World, event: AnyEvent) -> list[Wake]:
    w.state, effects = step(w.state, event)
    return [effect for effect in effects if isinstance(effect, Wake)]


def test_every_plan_is_made_anew_soon_after_something_all_depend_on():
    w = crowd()
    (wake,) = wakes(w, Commanded(at=moment(1.1), command="pause", who="ann", args={"reason": "deploy"}))
    assert wake.at <= moment(1.1) + timedelta(seconds=MANY / PLANNED_A_SECOND)
    wakes(w, Woke(at=wake.at))
    assert {plan.at for plan in w.state.plans.values()} == {wake.at}


def test_a_crowd_in_which_nothing_moves_lets_the_engine_sleep():
    w = crowd()
    turns, at = 0, moment(2)
    while at < moment(60):
        turns, at = turns + 1, min((wake.at for wake in wakes(w, Woke(at=at))), default=moment(60))
    assert turns <= 10
