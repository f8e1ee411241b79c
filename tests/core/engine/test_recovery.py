"""An answer that never comes while the process lives: the run is taken up, and nothing is sent twice."""

from __future__ import annotations

from collections import Counter

from consulguard.engine import step
from consulguard.engine.step import snapshot
from consulguard.events import Commanded, LeaseChanged, Tell, Wake, Woke
from consulguard.model import Outcome, RunState, Status
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.engine.test_restart import in_the_restart_step
from tests.core.engine.world import Do, Look, Probe, World, instance, moment

FIRST_BY = 64 + 30 + 30 + 60  # let go, to be sent within, the step's time-out, and the rest
SECOND_BY = 66 + 30 + 30 + 60


def sent(w: World) -> list[str]:
    return [e.intent.id.split("/", 1)[1] for e in w.effects if isinstance(e, Do)]


def probes(w: World) -> int:
    return sum(isinstance(e, Probe) for e in w.effects)


def test_before_its_time_nothing_happens_and_it_wakes_for_it():
    w = World()
    w.to_first_effect()
    w.wait(65, FIRST_BY - 1)
    assert w.run.sent
    assert w.run.state is RunState.EXECUTING
    _, effects = step(w.state, Woke(at=moment(FIRST_BY - 0.5)))
    (wake,) = [e for e in effects if isinstance(e, Wake)]
    assert wake.at <= moment(FIRST_BY + 0.1)


def test_what_may_be_done_twice_is_done_under_the_same_id_once_the_guards_agree():
    w = World()
    w.to_first_effect()
    w.wait(65, FIRST_BY + 5)
    assert sent(w) == ["0/1", "0/1"]
    assert "no outcome came back in time" in w.run.log
    w.result(FIRST_BY + 6, Outcome.DONE)
    assert w.run.state is RunState.CONFIRMING


def test_while_a_stop_is_in_force_nothing_is_done_again():
    w = World()
    w.to_first_effect()
    w.feed(Commanded(at=moment(70), command="stop", who="ann"))
    w.wait(71, FIRST_BY + 300)
    assert sent(w) == ["0/1"]


def test_what_may_not_be_done_twice_is_looked_for_and_then_left_to_a_person():
    w = in_the_restart_step()
    w.wait(67, SECOND_BY - 1)
    assert probes(w) == 0
    w.wait(SECOND_BY, SECOND_BY + 5)
    assert (sent(w), probes(w)) == (["0/1", "1/1"], 1)
    w.wait(SECOND_BY + 10, SECOND_BY + 70)  # the probe is lost as well
    assert w.run.state is RunState.HELD
    assert (sent(w), probes(w)) == (["0/1", "1/1"], 1)


def test_a_run_whose_incident_is_long_over_is_left_to_a_person_who_is_told():
    w = World()
    w.to_first_effect()
    w.feed(LeaseChanged(at=moment(65), held=False, epoch=1))
    w.see(66, instance("c"), Status.PASSING)
    w.wait(70, 1000)
    w.see(1000, instance("a"), Status.WARNING)  # something moves, so that incidents are worked out
    assert not w.state.book.incidents
    w.feed(LeaseChanged(at=moment(1001), held=True, epoch=2))
    w.wait(1002, 1010)
    assert sent(w) == ["0/1"]
    (message,) = [e.message for e in w.effects if isinstance(e, Tell) and e.message.key.startswith("run-")]
    assert "is held, its incident is long over" in message.title
    assert ("Because", "its incident is gone") in message.facts
    assert "0/1" not in str(w.state.runs), "what was told is forgotten"


def test_a_late_outcome_is_still_believed():
    w = in_the_restart_step()
    w.wait(67, SECOND_BY + 5)
    w.result(SECOND_BY + 6, Outcome.DONE)
    w.confirm(SECOND_BY + 7, Status.MAINTENANCE)
    assert sent(w) == ["0/1", "1/1", "2/1"]


def test_a_confirm_read_that_is_lost_is_made_again():
    w = World()
    w.fail(1)
    w.wait(3, 63)
    assert w.run.state is RunState.CONFIRMING
    w.wait(65, 63 + 65)
    assert sum(isinstance(e, Look) for e in w.effects) == 2
    assert sent(w) == []
    w.confirm(63 + 66)
    assert sent(w) == ["0/1"]


def test_a_verification_look_that_is_lost_is_made_again_once():
    w = World()
    w.to_first_effect()
    for second in (65, 67, 69):
        w.result(second, Outcome.DONE, index=100)
        if w.run.state is RunState.CONFIRMING:
            w.confirm(second + 1, Status.MAINTENANCE, index=100)
    assert w.run.state is RunState.VERIFYING
    before = len([e for e in w.effects if isinstance(e, Look)])
    w.wait(70, 69 + 60 + 65)
    assert len([e for e in w.effects if isinstance(e, Look)]) == before + 1
    w.look(69 + 60 + 66, Status.CRITICAL, 500)
    assert w.run.state in (RunState.UNDOING, RunState.FAILED)


def test_who_does_not_lead_waits_for_nobody():
    w = World()
    w.to_first_effect()
    w.feed(LeaseChanged(at=moment(70), held=False, epoch=1))
    w.wait(71, FIRST_BY + 100)
    assert sent(w) == ["0/1"]
    assert w.run.sent


ANSWERS = st.lists(
    st.sampled_from(["lost", "done", "unknown", "retry", "failed", "late"]), min_size=1, max_size=12
)


@settings(max_examples=15)
@given(ANSWERS, st.booleans())
def test_whatever_is_lost_every_intent_ends_and_what_may_not_repeat_does_not(answers: list[str], heals: bool):
    """I1 and I13, and a replay says the same."""
    w = World()
    w.fail(1)
    second, given_answers = 3.0, iter(answers)
    answered = 0
    while second < 2000:
        w.view(second)
        asked = [e for e in w.effects if isinstance(e, Do | Probe | Look)]
        if len(asked) > answered:
            answered = len(asked)
            answer = next(given_answers, "lost")
            if isinstance(asked[-1], Look) and answer != "lost":
                status = Status.PASSING if heals and asked[-1].key.endswith("verify") else Status.CRITICAL
                drained = any(r.effects for r in w.state.runs.values())
                if drained and not asked[-1].key.endswith("verify"):
                    status = Status.MAINTENANCE
                w.confirm(second + 1, status, index=int(100 + second))
            elif answer in ("done", "unknown", "retry", "failed"):
                w.result(second + 1, Outcome(answer.upper()), index=int(100 + second))
        second += 40
    counts = Counter(e.intent.id for e in w.effects if isinstance(e, Do) and e.intent.action == "exec.run")
    assert all(n == 1 for n in counts.values()), counts
    assert not any(r.sent or r.reason == "probe" for r in w.state.active_runs())
    fresh = World()
    state = fresh.state
    for event in w.events[len(fresh.events) :]:
        state, _ = step(state, event)
    assert snapshot(state) == snapshot(w.state)
    assert instance("c").key in w.state.troubles()
