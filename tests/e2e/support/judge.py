"""The offline judge of the promises: recordings, Consul's writes and the journal's tables in, assertions out."""

from __future__ import annotations

from collections import Counter

from tests.e2e.support.bot import SETTLE_S
from tests.e2e.support.case import Case
from tests.e2e.support.journal import Record

SLACK_S = 5.0  # promised on top of the fail-over


def judge(case: Case, *, killed_after_send: bool) -> None:
    """What must hold after one kill, whatever the point."""
    record = case.record()
    rest = case.rest()
    effects = every_effect_was_meant(case, record)
    assert all(n == 1 for n in effects.values()), f"an attempt had more than one effect: {effects}"
    if case.repeatable:
        assert rest.startswith("done"), rest
        assert set(effects) == set(record.attempts)
    else:
        assert rest.startswith("held"), rest
        assert sum(effects.values()) == int(killed_after_send), effects
        assert len(record.intents) == 1, "an unresolved attempt was made again"
    taken_up_in_time(record)


def judge_asked(case: Case, *, killed_after_send: bool) -> None:
    """After one kill of what can be asked: what happened is found, what did not happen is done once."""
    record = case.record()
    effects = every_effect_was_meant(case, record)
    assert case.rest().startswith("done"), case.rest()
    assert sum(effects.values()) == 1, effects
    assert len(record.intents) == len(record.attempts) == (1 if killed_after_send else 2)
    taken_up_in_time(record)


def judge_often(case: Case) -> None:
    """After any number of kills: at most one effect for each attempt, and only what may be repeated is."""
    record = case.record()
    effects = every_effect_was_meant(case, record)
    assert all(n <= 1 for n in effects.values()), effects
    if case.repeatable:
        assert case.rest().startswith("done"), case.rest()
        assert set(effects) == set(record.attempts)
    else:
        assert case.rest().startswith(("held", "done")), case.rest()
        assert len(record.intents) == 1, "an unresolved attempt was made again"


def judge_undone(case: Case) -> None:
    """The same after a kill while the run took back its only step: done once, taken back once."""
    record = case.record()
    assert case.rest().startswith("failed"), case.rest()
    assert every_effect_was_meant(case, record) == dict.fromkeys(record.attempts, 1)
    assert len(record.attempts) == 2
    taken_up_in_time(record)


def every_effect_was_meant(case: Case, record: Record) -> Counter[str]:
    """Effects by attempt id; each of them had its intent in the journal before it happened."""
    effects: Counter[str] = Counter()
    for line in case.recorded():
        assert line["journaled"], f"an effect without an intent: {line}"
        effects[line["attempt"]] += line["effect"]
    for write in case.proxy.writes:
        meant = [attempt for attempt, action in write.noted.items() if action == case.action]
        assert len(meant) == 1, f"a write without an open intent: {write}"
        assert write.status == 200, write
        effects[meant[0]] += 1
    assert set(effects) <= set(record.attempts)
    return effects


def taken_up_in_time(record: Record) -> None:
    """What the last life found unfinished has an outcome, or is with a person, soon after it settled."""
    life = record.lives[-1]
    before = {line.body["intent"]["id"] for line in record.lines if line.kind == "intent" and line.at < life}
    results = {line.body["result"]["intent_id"]: line.at for line in record.events("Resulted") if line.at >= life}
    open_then = before - {line.body["result"]["intent_id"] for line in record.events("Resulted") if line.at < life}
    assert open_then, "the kill left nothing open: the test proves nothing"
    views = [line for line in record.events("ViewChanged") if line.at >= life and line.body["view"].get("settled")]
    settled = max(life + SETTLE_S, views[0].at if views else life)
    for attempt in open_then:
        assert results[attempt] - settled <= SLACK_S, f"{attempt}: {results[attempt] - settled:.1f} s"
