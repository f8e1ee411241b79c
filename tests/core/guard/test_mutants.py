"""Each guard is needed: switch one off, and the table decides differently."""

from __future__ import annotations

import pytest
from consulguard.guard import ORDER, combine, judge
from consulguard.guard.answer import Answer, allow
from consulguard.guard.order import Order
from consulguard.guard.situation import Situation
from consulguard.model import Decision

from tests.core.guard.rows import Row
from tests.core.guard.scenes import scene
from tests.core.guard.table import ROWS

SCENES = {row.name: scene(**row.changes) for row in ROWS}


def asleep(_: Situation) -> Answer:
    return allow("this guard is switched off")


def without(name: str) -> Order:
    return [(n, asleep if n == name else guard) for n, guard in ORDER]


@pytest.mark.parametrize("name", [name for name, _ in ORDER])
def test_a_switched_off_guard_is_noticed(name: str) -> None:
    weaker = without(name)
    told = [n for n, s in SCENES.items() if combine(judge(s)).decision != combine(judge(s, weaker)).decision]
    assert told, f"no scenario needs {name}"


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.alone and r.decision is not Decision.ALLOW], ids=lambda r: r.name
)
def test_a_row_that_stands_alone_is_decided_by_the_guard_it_names(row: Row) -> None:
    s = SCENES[row.name]
    verdict, weaker = combine(judge(s)), combine(judge(s, without(row.guard)))
    assert (verdict.guard, verdict.decision) == (row.guard, row.decision)
    assert weaker.decision is not row.decision
