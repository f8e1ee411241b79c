"""Every guard on its rows of the scenario table."""

from __future__ import annotations

import pytest
from consulguard.guard import ORDER, combine, judge
from consulguard.model import Decision

from tests.core.guard.rows import Row
from tests.core.guard.scenes import scene
from tests.core.guard.table import ROWS


def test_where_nothing_is_wrong_every_guard_allows() -> None:
    verdicts = judge(scene())
    assert [v.guard for v in verdicts if v.decision is not Decision.ALLOW] == []
    assert combine(verdicts).decision is Decision.ALLOW


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_guard_answers_with_its_reason(row: Row) -> None:
    verdicts = {v.guard: v for v in judge(scene(**row.changes))}
    mine = verdicts[row.guard]
    assert mine.decision is row.decision, mine.reason
    assert row.words in mine.reason
    assert (mine.retry_at is not None) is (mine.decision is Decision.WAIT)


@pytest.mark.parametrize("row", [r for r in ROWS if r.alone], ids=lambda row: row.name)
def test_no_other_guard_is_to_blame(row: Row) -> None:
    others = [v for v in judge(scene(**row.changes)) if v.guard != row.guard]
    harder = [f"{v.guard}: {v.reason}" for v in others if v.decision in (Decision.WAIT, Decision.DENY)]
    if row.decision in (Decision.WAIT, Decision.DENY):
        assert harder == []


@pytest.mark.parametrize("name", [name for name, _ in ORDER])
def test_each_guard_has_rows_that_stop_and_reasons_that_are_sentences(name: str) -> None:
    rows = [r for r in ROWS if r.guard == name]
    assert any(r.decision is not Decision.ALLOW for r in rows)
    for row in rows:
        for verdict in judge(scene(**row.changes)):
            assert len(verdict.reason.split()) >= 3, verdict
