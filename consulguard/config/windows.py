"""Change windows as people write them, and what becomes of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Annotated, Final, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from consulguard.plan.duration import shorten
from consulguard.plan.strict import Strict
from consulguard.policy import Blackout, Opening, Window

DAY_MIN, WEEK_MIN = 24 * 60, 7 * 24 * 60
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = get_args(Day)


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{text}", {"text": sentence})


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise _wrong(f"{shorten(name)} is no time zone; write its IANA name, such as Europe/Berlin") from None
    return name


def _hour(text: str) -> str:
    if _minutes(text) is None:
        raise _wrong(f"{shorten(text)} is no time of day; write 00:00 to 24:00")
    return text


def _minutes(text: str) -> int | None:
    found = re.fullmatch(r"([0-9]{2}):([0-5][0-9])", text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else DAY_MIN + 1
    return minutes if minutes <= DAY_MIN else None


def _moment(text: str) -> str:
    try:
        _wall(text)
    except ValueError:
        raise _wrong(f"{shorten(text)} is no date; write 2026-12-24 or 2026-12-24 18:00") from None
    return text


def _wall(text: str) -> datetime:
    """Raises ValueError."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2})?", text) is None:
        raise ValueError(text)
    return datetime.fromisoformat(text)


Zone = Annotated[str, AfterValidator(_zone)]
Hour = Annotated[str, AfterValidator(_hour)]
Moment = Annotated[str, AfterValidator(_moment)]
WindowName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Hours(Strict):
    days: list[Day] = Field(list(DAYS), min_length=1, max_length=7, description="Days on which it begins.")
    start: Hour = Field(description="As a clock on the wall shows it: 22:00.")
    end: Hour = Field(description="Up to 24:00; not after start: on the next day.")

    @model_validator(mode="after")
    def _not_empty(self) -> Hours:
        if self.start in (self.end, "24:00"):
            raise _wrong(f"{self.start} to {self.end} is empty; a whole day is 00:00 to 24:00")
        if len(set(self.days)) < len(self.days):
            raise _wrong("a day is named twice")
        return self

    def build(self) -> Opening:
        start, end = _minutes(self.start), _minutes(self.end)
        assert start is not None
        assert end is not None
        return Opening(days=tuple(DAYS.index(d) for d in self.days), start=start, end=end)


class Dates(Strict):
    from_: Moment = Field(alias="from", description="2026-12-24, or 2026-12-24 18:00.")
    to: Moment = Field(description="The same; a date alone means to the end of that day.")
    why: str = Field("", max_length=200)

    @model_validator(mode="after")
    def _not_empty(self) -> Dates:
        if self._end() <= _wall(self.from_):
            raise _wrong(f"{self.from_} to {self.to} is empty")
        return self

    def _end(self) -> datetime:
        end = _wall(self.to)
        return end + timedelta(days=1) if len(self.to) == len("2026-12-24") else end

    def build(self, zone: ZoneInfo) -> Blackout:
        """Of a time that the clocks show twice, or never, the reading that keeps it closed for longer."""
        starts = [_wall(self.from_).replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        ends = [self._end().replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        return Blackout(since=min(starts), until=max(ends), why=self.why)


class ChangeWindow(Strict):
    zone: Zone = Field("UTC", description="IANA name of the zone in which its times are meant.")
    open: list[Hours] = Field(
        [], max_length=50, description="List of {days: [mon, ...], start: 22:00, end: 04:00}. Empty: always."
    )
    closed: list[Dates] = Field(
        [], max_length=200, description="Blackouts: list of {from: 2026-12-24, to: 2026-12-26, why: ...}."
    )

    @model_validator(mode="after")
    def _no_overlap(self) -> ChangeWindow:
        for one, other in combinations(self.open, 2):
            if _overlap(one.build(), other.build()):
                raise _wrong(
                    f"the openings {one.start}-{one.end} and {other.start}-{other.end} overlap; make one of them"
                )
        return self

    def build(self) -> Window:
        zone = ZoneInfo(self.zone)
        return Window(
            zone=self.zone,
            open=tuple(hours.build() for hours in self.open),
            closed=tuple(dates.build(zone) for dates in self.closed),
        )


def _overlap(one: Opening, other: Opening) -> bool:
    """Whether they share a minute of the week."""
    return any(
        (late - early) % WEEK_MIN < length
        for mine, yours in product(_weekly(one), _weekly(other))
        for (early, length), (late, _) in ((mine, yours), (yours, mine))
    )


def _weekly(opening: Opening) -> list[tuple[int, int]]:
    """Start and length in minutes of the week."""
    length = (opening.end - opening.start) % DAY_MIN or DAY_MIN
    return [(day * DAY_MIN + opening.start, length) for day in opening.days]
