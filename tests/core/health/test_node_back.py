"""A node that left the catalog and is listed again has its agent back."""

from consulguard import health
from consulguard.health import HealthState
from consulguard.model import State

from tests.core.health.mesh import POLICY, after, look, node, node_fact


def vanished(check: str) -> HealthState:
    state = HealthState()
    health.observe(state, [look(node(), check, "critical", 0)], after(0), POLICY)
    health.observe(state, [look(node(), check, "absent", 5)], after(5), POLICY)
    health.learn(state, [node_fact(at=6, gone=True)], after(6), POLICY)
    assert health.state_of(state, node()) is State.VANISHED
    return state


def test_listed_again_it_recovers():
    state = vanished("serfHealth")
    health.learn(state, [node_fact(at=9)], after(9), POLICY)
    assert health.state_of(state, node()) is State.RECOVERING
    health.tick(state, after(9 + POLICY.recovery_s), POLICY)
    assert health.state_of(state, node()) is State.PASSING


def test_a_list_from_before_it_left_says_nothing():
    state = vanished("serfHealth")
    health.learn(state, [node_fact(at=4)], after(9), POLICY)
    assert health.state_of(state, node()) is State.VANISHED


def test_a_check_of_its_own_that_left_is_not_back_with_the_node():
    state = vanished("disk")
    health.learn(state, [node_fact(at=9)], after(9), POLICY)
    assert health.state_of(state, node()) is State.VANISHED
