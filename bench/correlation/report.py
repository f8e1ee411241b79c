"""What was measured, as tables for docs/correlation.md, and as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.correlation.baselines import BASELINES
from bench.correlation.evaluate import (
    CEILINGS,
    ENGINE,
    Answer,
    Row,
    at,
    average,
    beaten,
    calm,
    faults,
    mean,
    p95,
    reliability,
)
from bench.measure import table

SIZES = ((100, "up to 100"), (2_000, "1,000"), (10**9, "10,000"))


def families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda r: (r.group, not r.answers[ENGINE].ac, r.family)):
        found.setdefault(f"{row.group}: {row.family}" if row.group else row.family, []).append(row)
    return found


def places(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """By mesh, or by the file that the cases are from."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda r: (r.group, r.services, r.mesh)):
        found.setdefault(row.group or row.mesh, []).append(row)
    return found


def overall(rows: Sequence[Row]) -> str:
    sick, well = faults(rows), calm(rows)
    told = [
        (
            name,
            *(_two(mean(sick, name, of)) for of in (at(1), at(3), average)),
            _two(mean(well, name, lambda a: a.blames)),
            f"{p95(rows, name):.1f}",
        )
        for name in _rankers(rows)
    ]
    head = ("ranker", "AC@1", "AC@3", "Avg@5", "false blame", "p95 CPU ms")
    return f"{len(sick)} faults, {len(well)} cases without one\n\n{table(head, told)}"


def _rankers(rows: Sequence[Row]) -> list[str]:
    """Those that are asked in every case."""
    return [name for name in rows[0].answers if name not in CEILINGS]


def ceiling(rows: Sequence[Row]) -> str:
    """The engine beside the oracles, on the cases that these are asked; empty where there are none."""
    asked = [row for row in rows if row.answers.keys() >= set(CEILINGS)]
    title = "meshes up to 100; AC@1/AC@3; none: false blame"
    groups = {**families(asked), **({"all faults": sick} if (sick := faults(asked)) else {})}
    return by_family(groups, title, (ENGINE, *CEILINGS)) if asked else ""


def by_family(groups: dict[str, list[Row]], title: str, names: Sequence[str] = ()) -> str:
    """AC@1 / AC@3 of each ranker; false blame where nobody is to blame."""
    names = names or _rankers(next(iter(groups.values())))
    told = []
    for family, rows in groups.items():
        sick = faults(rows)
        cells = [
            f"{_two(mean(sick, n, at(1)))}/{_two(mean(sick, n, at(3)))}" if sick else _two(_blame(rows, n))
            for n in names
        ]
        told.append((family, str(len(sick or rows)), *cells))
    return table((title, "cases", *names), told)


def calibration(rows: Sequence[Row]) -> str:
    told = [
        (f"{low:.1f} to {high:.1f}", str(count), _two(chance), _two(right))
        for low, high, count, chance, right in reliability(rows, ENGINE)
    ]
    return table(("confidence", "answers", "mean confidence", "right"), told)


def speed(rows: Sequence[Row]) -> str:
    told, low = [], 0
    for high, name in SIZES:
        if here := [row for row in rows if low < row.services <= high]:
            slowest = max(row.answers[ENGINE].ms for row in here)
            middle = mean(here, ENGINE, lambda a: a.ms)
            told.append((name, str(len(here)), f"{middle:.1f}", f"{p95(here, ENGINE):.1f}", f"{slowest:.1f}"))
        low = high
    return table(("services", "cases", "mean CPU ms", "p95", "slowest"), told)


def verdicts(groups: dict[str, list[Row]]) -> tuple[list[str], bool]:
    """A line for each group, and whether no simple rule is better there by more than chance."""
    lines, kept = [], True
    for family, rows in groups.items():
        sick = faults(rows)
        measures: tuple[tuple[str, Callable[[Answer], float]], ...] = (
            (("AC@1", at(1)), ("AC@3", at(3))) if sick else (("false blame", lambda a: -a.blames),)
        )
        lost = []
        for rule in BASELINES:
            for measure, of in measures:
                gain, sure = beaten(sick or rows, rule, of)
                if gain > 0:
                    lost.append(f"{measure} of {rule} is {gain:.2f} better{'' if sure else ' (within chance)'}")
                    kept = kept and not sure
        lines.append(f"{family}: {'; '.join(lost) if lost else 'no simple rule is better'}")
    return lines, kept


def data(rows: Sequence[Row]) -> dict[str, Any]:
    """The same as data."""
    everything = {"all": list(rows), **families(rows), **places(rows)}
    return {
        "groups": {
            name: {
                ranker: _figures([row for row in here if ranker in row.answers], ranker)
                for ranker in {name: None for row in here for name in row.answers}
            }
            for name, here in everything.items()
        },
        "reliability": [
            dict(zip(("from", "to", "answers", "confidence", "right"), told, strict=True))
            for told in reliability(rows, ENGINE)
        ],
    }


def _figures(rows: Sequence[Row], name: str) -> dict[str, float]:
    sick, well = faults(rows), calm(rows)
    found = {"p95_ms": p95(rows, name)}
    if sick:
        found |= {
            "ac1": mean(sick, name, at(1)),
            "ac3": mean(sick, name, at(3)),
            "avg5": mean(sick, name, average),
        }
        found["answered"] = mean(sick, name, lambda a: float(a.answered))
    if well:
        found["false_blame"] = _blame(well, name)
    return found | {"faults": len(sick), "calm": len(well)}


def _blame(rows: Sequence[Row], name: str) -> float:
    return mean(calm(rows), name, lambda a: a.blames)


def _two(value: float) -> str:
    return f"{value:.2f}" if value == value else ""
