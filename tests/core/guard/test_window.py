"""Change windows, on ordinary days and on the two days of the year that have no ordinary length."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from consulguard.guard import hours, window
from consulguard.model import Decision
from consulguard.policy import Blackout, Opening, Window
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.guard.scenes import change, scene

BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = tuple(range(7))
MINUTE = timedelta(minutes=1)


def clock(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def daily(start: str, end: str, days: tuple[int, ...] = EVERY_DAY, zone: str = "Europe/Berlin") -> Window:
    return Window(zone=zone, open=(Opening(days=days, start=clock(start), end=clock(end)),))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def stretches(window: Window, start: datetime, hours_long: int) -> list[str]:
    """When it is open, minute by minute: ``HH:MM-HH:MM`` in UTC."""
    minutes = [start + MINUTE * n for n in range(hours_long * 60 + 1)]
    states = [hours.is_open(window, m) for m in minutes]
    edges = [m for m, was, now in zip(minutes[1:], states, states[1:], strict=False) if was is not now]
    return [f"{edges[i]:%H:%M}-{edges[i + 1]:%H:%M}" for i in range(0, len(edges) - 1, 2)]


SPRING = utc("2026-03-28 23:00")  # midnight in Berlin; at 01:00 UTC, 02:00 becomes 03:00
AUTUMN = utc("2026-10-24 22:00")  # midnight in Berlin; at 01:00 UTC, 03:00 becomes 02:00


@pytest.mark.parametrize(
    ("start", "end", "spring", "autumn"),
    [
        ("01:00", "04:00", ["00:00-02:00"], ["23:00-03:00"]),  # an hour shorter, an hour longer
        ("02:00", "03:00", [], ["00:00-02:00"]),  # swallowed whole, and twice
        ("02:15", "02:45", [], ["00:15-00:45", "01:15-01:45"]),
        ("02:30", "04:00", ["01:00-02:00"], ["00:30-01:00", "01:30-03:00"]),
        ("01:30", "02:30", ["00:30-01:00"], ["23:30-00:30", "01:00-01:30"]),
        ("12:00", "13:00", ["10:00-11:00"], ["11:00-12:00"]),
    ],
)
def test_it_follows_the_clock_on_the_wall(start: str, end: str, spring: list[str], autumn: list[str]) -> None:
    assert stretches(daily(start, end), SPRING, 18) == spring
    assert stretches(daily(start, end), AUTUMN, 18) == autumn


@pytest.mark.parametrize(("eve", "long"), [(SPRING, 4), (AUTUMN, 6), (utc("2026-04-11 22:00"), 5)])
def test_a_night_with_a_change_is_shorter_or_longer(eve: datetime, long: int) -> None:
    night = daily("23:00", "04:00", days=(5,))  # begins on Saturday, the change is on Sunday
    begin = eve - timedelta(hours=1)
    assert stretches(night, begin - timedelta(hours=2), 20) == [
        f"{begin:%H:%M}-{begin + timedelta(hours=long):%H:%M}"
    ]


def test_a_night_belongs_to_the_day_it_begins() -> None:
    night = daily("22:00", "02:00", days=(4,), zone="UTC")  # Friday
    friday = utc("2026-01-02 00:00")
    inside = [friday + timedelta(hours=h) for h in (22, 23, 24, 25)]
    outside = [friday + timedelta(hours=h) for h in (0, 1, 21, 26, 46, 47, 49)]
    assert all(hours.is_open(night, m) for m in inside)
    assert not any(hours.is_open(night, m) for m in outside)


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-03-29 00:30", "2026-03-30 00:00"),  # of 02:00 to 03:00: Sunday has none, Monday's is in summer time
        ("2026-10-24 23:59", "2026-10-25 00:00"),
        ("2026-10-25 02:00", "2026-10-26 01:00"),  # after the second time, Monday's is in winter time
    ],
)
def test_the_next_opening_near_a_change(at: str, opens: str) -> None:
    assert hours.next_open(daily("02:00", "03:00"), utc(at)) == utc(opens)


def test_it_may_open_at_the_change_itself() -> None:
    change_at = utc("2026-03-29 01:00")
    assert hours.next_open(daily("02:30", "04:00"), change_at - MINUTE * 59) == change_at
    back_at = utc("2026-10-25 01:00")
    assert hours.next_open(daily("01:30", "02:30"), back_at - MINUTE * 10) == back_at


def test_a_weekly_opening_in_the_skipped_hour_is_back_a_week_later() -> None:
    sunday = daily("02:00", "03:00", days=(6,))
    assert hours.next_open(sunday, utc("2026-03-22 12:00")) == utc("2026-04-05 00:00")


def test_blackouts_close_it_and_several_are_left_one_after_the_other() -> None:
    first = Blackout(since=utc("2026-01-05 00:00"), until=utc("2026-01-07 00:00"), why="stocktaking")
    second = Blackout(since=utc("2026-01-06 00:00"), until=utc("2026-01-08 12:30"))
    w = Window(open=daily("12:00", "13:00", zone="UTC").open, closed=(first, second))
    assert not hours.is_open(w, utc("2026-01-05 12:30"))
    assert hours.closed_by(w, utc("2026-01-06 12:30")) is second
    assert hours.next_open(w, utc("2026-01-05 12:30")) == utc("2026-01-08 12:30")
    always = Window(closed=(first,))
    assert hours.is_open(always, utc("2026-01-04 23:59"))
    assert hours.next_open(always, utc("2026-01-05 01:00")) == first.until


def test_a_blackout_until_the_end_of_time_has_no_next_opening() -> None:
    never = Window(open=(Opening(days=(), start=0, end=1),))
    assert hours.next_open(never, utc("2026-01-05 00:00")) is None


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]
)
OPENINGS = st.builds(
    lambda days, start, long: Opening(days=tuple(sorted(days)), start=start, end=(start + long - 1) % 1440 + 1),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1439),
)
CHANGES = [utc(d) for d in ("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01")]
MOMENTS = st.builds(
    lambda day, minute: day + MINUTE * minute, st.sampled_from(CHANGES), st.integers(-2 * 1440, 2 * 1440)
)


def shows(window: Window, at: datetime) -> bool:
    """The sentence of the documentation, by another way: write the wall clock down and look through the week."""
    wall = at.astimezone(ZoneInfo(window.zone))
    minute_of_week = wall.weekday() * 1440 + wall.hour * 60 + wall.minute
    taken: set[int] = set()
    for opening in window.open:
        long = opening.end - opening.start if opening.end > opening.start else opening.end + 1440 - opening.start
        for day in opening.days:
            taken.update((day * 1440 + opening.start + n) % (7 * 1440) for n in range(long))
    return minute_of_week in taken


@settings(max_examples=40)
@given(ZONES, st.lists(OPENINGS, min_size=1, max_size=2), MOMENTS)
@example("Europe/Berlin", [Opening(days=EVERY_DAY, start=120, end=180)], utc("2026-03-29 00:10"))
def test_open_and_next_open_agree_with_the_wall_clock(zone: str, openings: list[Opening], at: datetime) -> None:
    w = Window(zone=zone, open=tuple(openings))
    assert hours.is_open(w, at) is shows(w, at)
    opens = hours.next_open(w, at)
    assert opens is not None
    assert hours.is_open(w, opens)
    assert opens >= at
    checked, step = at, MINUTE * 11
    while checked < opens:
        assert not hours.is_open(w, checked), (checked, opens)
        checked += step
    assert opens == at or not hours.is_open(w, opens - timedelta(seconds=1))


@given(ZONES, st.lists(OPENINGS, max_size=2), MOMENTS, st.integers(1, 5000))
def test_one_more_blackout_never_opens_it(zone: str, openings: list[Opening], at: datetime, long: int) -> None:
    """I14."""
    w = Window(zone=zone, open=tuple(openings))
    darker = change(w, closed=(Blackout(since=at - MINUTE, until=at + MINUTE * long),))
    assert not hours.is_open(darker, at)
    opens = hours.next_open(w, at)
    later = hours.next_open(darker, at)
    assert opens is not None
    assert later is not None
    assert later >= max(opens, at + MINUTE * long)


@settings(max_examples=50)
@given(ZONES, st.lists(OPENINGS, max_size=2), ZONES, st.lists(OPENINGS, max_size=2), MOMENTS)
def test_both_windows_must_be_open(
    zone: str, ours: list[Opening], other: str, its: list[Opening], at: datetime
) -> None:
    windows = {"all": Window(zone=zone, open=tuple(ours)), "mine": Window(zone=other, open=tuple(its))}
    s = scene(
        at=at,
        policy={"guard": {"windows": windows, "window": "all"}},
        playbook={"limits": {"window": "mine"}},
    )
    both = all(hours.is_open(w, at) for w in windows.values())
    answer = window.guard(s)
    assert (answer.decision is Decision.ALLOW) is both
    assert (answer.decision is Decision.WAIT) is not both
    assert answer.retry_at is None or answer.retry_at > at


def test_a_zone_this_machine_does_not_know_holds() -> None:
    with pytest.raises(LookupError):
        hours.is_open(daily("01:00", "02:00", zone="Nowhere/Atall"), utc("2026-01-01"))
