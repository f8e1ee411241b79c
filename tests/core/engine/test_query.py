"""A verification with a query: verified, failed, or inconclusive and with a person."""

from consulguard.engine.step import restore, snapshot
from consulguard.events import Do, LeaseChanged, Look
from consulguard.model import Decision, Outcome, RunState, Status

from tests.core.engine.world import DRAIN_AND_RESTART, World, moment

QUERY = """prometheus: {query: 'errors{service="${target.service}"}', expect: "< 0.05"}"""
MEASURED = DRAIN_AND_RESTART.replace("{passing_for: 3}}", "{passing_for: 3}, " + QUERY + "}")
BAD = {"query_ok": False, "query_text": "0.31 is not < 0.05"}
SILENT = {"query_ok": None, "query_text": "no data: the query gives nothing"}


def verifying(playbook: str = MEASURED) -> World:
    w = World(playbook)
    w.to_first_effect()
    for second in (65, 67, 69):
        w.result(second, Outcome.DONE, index=100)
        if w.run.state is RunState.CONFIRMING:
            w.confirm(second + 1, Status.MAINTENANCE)
    assert w.run.state is RunState.VERIFYING
    return w


def until_the_deadline(w: World, status: Status = Status.PASSING, **answer) -> None:
    for second in range(72, 140, 4):
        w.view(second)
        w.look(second, status, 300, **answer)


def test_each_look_carries_the_query_with_its_lookups_made():
    w = verifying()
    assert w.last(Look).query.text == 'errors{service="c"}'
    assert w.last(Look).query.expect == "< 0.05"
    w.look(72, Status.PASSING, 300, query_ok=True)
    assert w.last(Look).query.text == 'errors{service="c"}'


def test_a_confirm_read_asks_nobody_but_consul():
    w = World(MEASURED)
    w.fail(1)
    w.wait(3, 63)
    assert w.last(Look).key.endswith("?confirm")
    assert w.last(Look).query is None


def test_good_looks_must_be_good_in_both_and_in_a_row():
    w = verifying()
    for second, answer in enumerate(({"query_ok": True}, {"query_ok": True}, BAD, {"query_ok": True}, SILENT), 72):
        w.look(second, Status.PASSING, 300, **answer)
        assert w.run.state is RunState.VERIFYING
    for second in (80, 82, 84):
        w.look(second, Status.PASSING, 300, query_ok=True)
    assert w.run.state is RunState.DONE


def test_a_value_that_is_not_as_expected_fails_and_undoes():
    w = verifying()
    until_the_deadline(w, **BAD)
    assert w.done()[-1][0] == "0/undo1"
    assert any("failed: 0.31 is not < 0.05 after 60 s" in line for line in w.run.log)


def test_no_answer_is_inconclusive_and_held():
    w = verifying()
    until_the_deadline(w, **SILENT)
    assert w.run.state is RunState.HELD
    assert w.run.reason == "inconclusive after 60 s: no data: the query gives nothing"
    assert len(w.done()) == 3, "nothing is undone by itself"
    assert [a.outcome for a in w.state.attempts] == ["inconclusive"]


def test_a_look_nobody_put_the_query_to_is_not_good():
    w = verifying()
    until_the_deadline(w)
    assert w.run.state is RunState.HELD


def test_what_consul_knows_to_be_bad_needs_no_query():
    w = verifying()
    until_the_deadline(w, Status.CRITICAL, **SILENT)
    assert w.done()[-1][0] == "0/undo1"


def test_with_passing_for_0_the_query_alone_decides():
    w = verifying(MEASURED.replace("passing_for: 3", "passing_for: 0"))
    w.look(72, Status.CRITICAL, 300, **BAD)
    assert w.run.state is RunState.VERIFYING
    w.look(74, Status.CRITICAL, 300, query_ok=True)
    assert w.run.state is RunState.DONE


def test_after_a_restart_the_same_query_is_asked():
    w = verifying()
    w.state = restore(snapshot(w.state))
    w.feed(LeaseChanged(at=moment(75), held=False, epoch=1))
    w.feed(LeaseChanged(at=moment(75), held=True, epoch=2))
    assert w.last(Look).query.text == 'errors{service="c"}'


def test_a_query_that_cannot_be_filled_in_waits_before_anything_is_done():
    w = World(MEASURED.replace("${target.service}", "${target.meta.team}"))
    w.fail(1)
    w.wait(3, 120)
    assert not any(isinstance(e, Do) for e in w.effects)
    assert w.state.runs == {}
    assert w.plan.steps[0].verdict.decision is Decision.WAIT
    assert "target.meta.team has no value" in w.plan.steps[0].verdict.reason
