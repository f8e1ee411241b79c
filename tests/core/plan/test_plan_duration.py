"""Durations: item 17."""

from __future__ import annotations

import pytest
from consulguard.plan.duration import format_duration, parse_duration
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800), ("0s", 0), ("30d", 2592000)]
)
def test_good(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert isinstance(parse_duration(text), float)


@pytest.mark.parametrize(
    "text",
    [
        *("5", "-5m", "1d1d", "99999999d", "31d", "", "s", "5 m", "5M", "1.5h", "1e3s", "٥m", "5m\n", "+5m"),
        *("1h30m", 5, 5.0, True, None, ["5m"], "9" * 5000 + "s"),
    ],
)
def test_bad(text: object) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 30 * 86400))
def test_there_and_back(seconds: int) -> None:
    assert parse_duration(format_duration(float(seconds))) == seconds
