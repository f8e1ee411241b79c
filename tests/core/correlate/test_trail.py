"""What one check's past says."""

from __future__ import annotations

import pytest
from consulguard.correlate.cause.memory import PLANNED
from consulguard.correlate.cause.trail import Flip, Reader
from consulguard.correlate.cause.weights import WEIGHTS

NOW = 1e6
DAY = 86_400.0
read = Reader(NOW, WEIGHTS).read


def ratio(*flips: Flip) -> float | None:
    sign = read(flips)
    return sign.ratio if sign is not None else None


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("days", [1, 2, 10])
def test_a_phase_of_days_that_ended_just_now_is_read(level: int, days: int) -> None:
    flips = [(NOW - 200 - days * DAY, level), (NOW - 200, 2 - level), (NOW - 100, level)]
    assert read([(flips[0][0] - 50, 2 - level), *flips]) is not None


def test_planned_work_is_no_failure() -> None:
    assert read([(NOW - 300, PLANNED), (NOW - 100, 0)]) is None
    assert read([(NOW - 300, PLANNED)]) is None


def test_what_fails_after_planned_work_has_failed_since_then() -> None:
    worked_on = [(NOW - 300, PLANNED), (NOW - 100, 0), (NOW - 60, 2)]
    assert ratio(*worked_on) == ratio((NOW - 60, 2))


def test_what_failed_before_planned_work_has_not_failed_through_it() -> None:
    sign = read([(NOW - 400, 2), (NOW - 300, PLANNED), (NOW - 60, 2)])
    assert sign is not None
    assert [end - start for start, end, _ in sign.blips] == [100, 60]
