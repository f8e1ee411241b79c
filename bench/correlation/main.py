"""The command: ``python -m bench correlation``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from bench.correlation import report
from bench.correlation.evaluate import Row, rankers, run
from bench.correlation.external import load
from bench.correlation.faults import KINDS
from bench.correlation.meshes import NAMES
from bench.correlation.simulate import cases

CASES = {"tiny": 30, "small": 1_200, "large": 6_000}


def main(size: str, seconds: float | None) -> bool:
    """Whether no simple rule beats the engine; ``seconds`` does not matter here."""
    return alone(["--size", size])


def alone(words: Sequence[str]) -> bool:
    given = _given(words)
    if given.cases_dir is not None:
        rows = run(load(given.cases_dir), rankers(with_oracles=False))
    else:
        count = given.cases or CASES[given.size]
        made = cases(count, given.seed, given.kind or KINDS, given.mesh or ())
        rows = run((("", case) for case in made), rankers())
    lines, kept = report.verdicts(report.families(rows))
    told = [*filter(None, _tables(rows)), "\n".join(f"* {line}" for line in lines)]
    print(json.dumps(report.data(rows), indent=1) if given.json else "\n\n".join(told))
    if given.doc is not None:
        write(given.doc, "cases" if given.cases_dir is None else "external", "\n\n".join(told))
    return kept


def write(page: Path, which: str, tables: str) -> None:
    """Put the tables between ``<!-- bench: which -->`` and ``<!-- end -->``."""
    before, begin, rest = page.read_text().partition(f"<!-- bench: {which} -->")
    _, end, after = rest.partition("<!-- end -->")
    if not end:
        raise SystemExit(f"{page} has no place for {which}")
    page.write_text(f"{before}{begin}\n{tables}\n{end}{after}")


def _tables(rows: Sequence[Row]) -> list[str]:
    return [
        f"correlation: {report.overall(rows)}",
        report.by_family(report.families(rows), "AC@1/AC@3; none: false blame"),
        report.by_family(report.places(rows), "AC@1/AC@3"),
        report.ceiling(rows),
        report.calibration(rows),
        report.speed(rows),
    ]


def _given(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench correlation")
    parser.add_argument("--size", choices=CASES, default="small")
    parser.add_argument("--cases", type=int, metavar="N", help="how many; tiny: 30, small: 1,200, large: 6,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this, again for more")
    parser.add_argument("--mesh", action="append", choices=NAMES, help="only this, again for more")
    parser.add_argument("--json", action="store_true", help="the figures as data")
    parser.add_argument("--cases-dir", type=Path, metavar="DIR", help="cases of your own instead; see external.py")
    parser.add_argument("--doc", type=Path, metavar="PAGE", help="write the tables into this page as well")
    return parser.parse_args(words)
