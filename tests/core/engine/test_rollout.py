"""What the action itself has against it travels with the confirm-read, and holds the run."""

from consulguard.events import Look
from consulguard.model import Decision, Outcome, RunState, Status

from tests.core.engine.world import World, instance

REPLACED = """
name: evict
mode: auto
match: {role: root_cause, scope: instance, states: [critical], for: 60s, matchers: ['service="c"']}
steps:
  - {name: evict, uses: exec.run, with: {argv: [/bin/evict], idempotent: false}}
verify: {within: 60s, target: {passing_for: 2, replaced: true}}
"""


def test_a_rollout_holds_the_run_until_it_is_over():
    w = World()
    w.fail(1)
    w.wait(3, 63)
    look = w.last(Look)
    assert look.intent is not None
    assert look.intent.action == "consul.maintenance"
    w.confirm(64, holds=("a rollout of deployment/c is in progress",))
    assert w.done() == []
    assert w.run.state is RunState.WAITING
    (verdict,) = [v for v in w.run.verdicts if v.decision is not Decision.ALLOW]
    assert (verdict.guard, verdict.decision) == ("rollout", Decision.WAIT)
    w.wait(65, 80)
    w.confirm(81)
    assert len(w.done()) == 1


def test_a_look_of_a_verification_asks_no_action():
    w = World(REPLACED)
    to_verification(w)
    assert w.last(Look).intent is None


def test_an_instance_that_was_replaced_by_another_is_a_cure():
    w = World(REPLACED)
    to_verification(w)
    w.look(66, Status.ABSENT, 120, healthy=2, registered=2)
    assert w.run.good_looks == 0, "it is gone, and nothing has come for it"
    w.look(68, Status.ABSENT, 121, healthy=3, registered=3)
    w.look(70, Status.ABSENT, 90, healthy=3, registered=3)
    assert w.run.good_looks == 0, "from before the effect"
    for second in (72, 74):
        w.look(second, Status.ABSENT, 122, healthy=3, registered=3)
    assert w.run.state is RunState.DONE


def test_elsewhere_an_instance_that_is_gone_is_no_cure():
    w = World(REPLACED.replace(", replaced: true", ""))
    to_verification(w)
    for second in (66, 68, 70):
        w.look(second, Status.ABSENT, 120, healthy=3, registered=3)
    assert w.run.state is RunState.VERIFYING


def to_verification(w: World) -> None:
    w.fail(1, instance("c"))
    w.wait(3, 63)
    w.confirm(64)
    w.result(65, Outcome.DONE, index=100)
    assert w.run.state is RunState.VERIFYING
