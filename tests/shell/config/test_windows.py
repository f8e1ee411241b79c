"""Change windows in the configuration: what is understood, and what is refused with its place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from consulguard.config import load, settings
from consulguard.errors import ConfigError
from consulguard.policy import Blackout, Opening, Window

HEAD = "guards:\n  windows:\n    nights:\n      "
KEY = "4: guards.windows.nights"


def loaded(folder: Path, text: str):
    path = folder / "c.yaml"
    path.write_text(text)
    return load(str(path), env={})


def test_what_is_written_is_what_is_meant(tmp_path: Path) -> None:
    text = """
guards:
  window: nights
  windows:
    nights:
      zone: Europe/Berlin
      open:
        - {days: [mon, sun], start: "22:00", end: 04:00}
        - {days: [wed], start: "00:00", end: "24:00"}
      closed:
        - {from: 2026-12-24, to: 2026-12-26, why: feast}
        - {from: 2026-10-25 02:30, to: "2026-10-25 02:45"}
"""
    guard = settings.policy(loaded(tmp_path, text)).guard
    assert guard.window == "nights"

    def utc(*parts: int) -> datetime:
        return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]

    assert guard.windows["nights"] == Window(
        zone="Europe/Berlin",
        open=(Opening(days=(0, 6), start=1320, end=240), Opening(days=(2,), start=0, end=1440)),
        closed=(
            Blackout(since=utc(2026, 12, 23, 23), until=utc(2026, 12, 26, 23), why="feast"),
            Blackout(since=utc(2026, 10, 25, 0, 30), until=utc(2026, 10, 25, 1, 45)),  # the doubled hour
        ),
    )


def test_none_is_always_open(tmp_path: Path) -> None:
    guard = settings.policy(loaded(tmp_path, "mode: auto\n")).guard
    assert (guard.window, guard.windows) == ("", {})


@pytest.mark.parametrize(
    ("text", "where", "word"),
    [
        (HEAD + "zone: Europe/Berln\n", KEY + ".zone", "no time zone"),
        (HEAD + "zone: ../../etc/passwd\n", KEY + ".zone", "no time zone"),
        (HEAD + "zone: Europe\n", KEY + ".zone", "no time zone"),
        (
            HEAD + 'open: [{start: "25:00", end: "26:00"}]\n',
            KEY + ".open[0].start",
            "time of day",
        ),
        (
            HEAD + 'open: [{start: "1:00", end: "02:00"}]\n',
            KEY + ".open[0].start",
            "time of day",
        ),
        (HEAD + "open: [{start: 100, end: 200}]\n", KEY + ".open[0].start", "quotes"),
        (HEAD + 'open: [{start: "09:00", end: "09:00"}]\n', KEY + ".open[0]", "empty"),
        (HEAD + 'open: [{start: "24:00", end: "09:00"}]\n', KEY + ".open[0]", "empty"),
        (
            HEAD + 'open: [{days: [], start: "09:00", end: "10:00"}]\n',
            KEY + ".open[0].days",
            "at least 1",
        ),
        (
            HEAD + 'open: [{days: [mon, mon], start: "09:00", end: "10:00"}]\n',
            KEY + ".open[0]",
            "twice",
        ),
        (
            HEAD + 'open: [{days: [moon], start: "09:00", end: "10:00"}]\n',
            KEY + ".open[0].days[0]",
            "did you mean mon?",
        ),
        (
            HEAD
            + 'open: [{days: [sun], start: "22:00", end: "04:00"}, {days: [mon], start: "03:59", end: "05:00"}]\n',
            "3: guards.windows.nights",
            "overlap",
        ),
        (
            HEAD + "closed: [{from: 2026-02-30, to: 2026-03-01}]\n",
            KEY + ".closed[0].from",
            "date",
        ),
        (HEAD + "closed: [{from: 2026-03-02, to: 2026-03-01}]\n", KEY + ".closed[0]", "empty"),
        (HEAD + "close: []\n", KEY + ".close", "did you mean closed?"),
        ("guards:\n  window: days\n  windows: {nights: {}}\n", "2: guards.window", "no window 'days'"),
        ("guards: {window: days}\n", "1: guards.window", "no window 'days'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, text: str, where: str, word: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, text)
    assert refused.value.where == f"{tmp_path}/c.yaml:{where}"
    assert word in refused.value.message


def test_openings_that_touch_do_not_overlap(tmp_path: Path) -> None:
    openings = '[{days: [sun], start: "22:00", end: "04:00"}, {days: [mon], start: "04:00", end: "05:00"}]'
    assert len(settings.policy(loaded(tmp_path, HEAD + f"open: {openings}\n")).guard.windows["nights"].open) == 2
