"""What a run began with it ends with, and what it rested from it rests from, whatever is edited or restarted."""

from __future__ import annotations

import pytest
from consulguard.engine.step import restore, snapshot
from consulguard.events import Configured
from consulguard.model import Decision, Mode, Outcome, Playbook, RunState, Status
from consulguard.plan import parse
from consulguard.policy import Policy

from tests.core.engine.test_restart import new_life
from tests.core.engine.world import ACTIONS, DRAIN_AND_RESTART, Do, World, instance, moment

EDITED = DRAIN_AND_RESTART.replace("[/bin/restart, c]", "[/bin/other, c]").replace("name: rejoin", "name: back")


@pytest.mark.parametrize("books", [(parse(EDITED, "test.yaml"),), ()], ids=["edited", "removed"])
def test_a_playbook_edited_between_two_steps_changes_no_run_under_way(books: tuple[Playbook, ...]) -> None:
    w = World()
    w.to_first_effect()
    w.feed(Configured(at=moment(65), policy=Policy(mode=Mode.AUTO), playbooks=books, actions=ACTIONS))
    w.result(66, Outcome.DONE)
    w.confirm(67, Status.MAINTENANCE)
    assert w.last(Do).intent.params["argv"] == ["/bin/restart", "c"]
    w.result(68, Outcome.DONE)
    w.confirm(69, Status.MAINTENANCE)
    assert [d[0] for d in w.done()] == ["0/1", "1/1", "2/1"]
    assert w.run.playbook.digest == parse(DRAIN_AND_RESTART, "test.yaml").digest


def test_a_new_life_is_still_cooling_down_and_so_is_a_replaced_instance() -> None:
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.FAILED)
    assert w.run.state.over or w.run.state is RunState.UNDOING
    w.state = restore(snapshot(w.state))
    new_life(w, 70)
    w.see(71, instance("c", 1), Status.CRITICAL)
    w.see(72, instance("c", 1), Status.CRITICAL)
    w.wait(73, 200)
    guards = {v.guard: v.decision for v in w.plan.steps[0].verdicts}
    assert guards["cooldown"] is Decision.WAIT
    assert len([d for d in w.done() if d[0] == "0/1"]) == 1
