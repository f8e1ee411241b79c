"""The bench's measures, on cases made by hand."""

from __future__ import annotations

import gzip
import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from bench.correlation import report
from bench.correlation.baselines import (
    BASELINES,
    codebook,
    first_to_fail,
    no_failing_dependency,
    pagerank,
    set_cover,
)
from bench.correlation.evaluate import (
    ENGINE,
    Answer,
    Row,
    accuracy,
    at,
    average,
    beaten,
    calm,
    faults,
    judge,
    mean,
    rankers,
    reliability,
    run,
)
from bench.correlation.external import load
from bench.correlation.main import alone, write
from bench.correlation.simulate import Case
from bench.correlation.state import failing

from tests.core.correlate.meshes import Flip, critical, mesh, passing, warning

CHAIN = mesh({"a": ["b"], "b": ["c"], "c": []})


def best(rule: Any, *flips: list[Flip], topology: dict[str, Any] = CHAIN) -> str:
    return rule(topology, sorted(chain(*flips), key=lambda f: f["t"]), 60.0)[0][0]


def made(truth: set[str], *flips: list[Flip]) -> Case:
    return Case("by hand", "chain", "service", CHAIN, [*chain(*flips)], 60.0, frozenset(truth))


def row(*answers: tuple[str, Answer]) -> Row:
    return Row("", "service", "chain", 3, dict(answers))


def answer(first: float, chance: float = 0.0, answered: bool = True) -> Answer:
    return Answer((first,) * 5, answered, 1.0, chance, first > 0)


# ---- measures


def test_accuracy_is_the_share_of_the_roots_among_the_first_answers() -> None:
    told = [("x", 0.9), ("b", 0.8), ("y", 0.7), ("c", 0.6)]
    assert accuracy(told, frozenset({"b"})) == (0, 1, 1, 1, 1)
    assert accuracy(told, frozenset({"b", "c"})) == (0, 0.5, 0.5, 1, 1)
    assert accuracy([("b", 0.9)], frozenset({"b", "c"})) == (1, 0.5, 0.5, 0.5, 0.5)
    assert accuracy([], frozenset({"b"})) == (0, 0, 0, 0, 0)


def test_of_equal_scores_the_wrong_answer_counts_as_first() -> None:
    assert accuracy([("b", 0.5), ("x", 0.5)], frozenset({"b"}))[:2] == (0, 1)


def test_an_answer_given_twice_counts_once() -> None:
    assert accuracy([("x", 0.9), ("x", 0.8), ("b", 0.1)], frozenset({"b"}))[:2] == (0, 1)


def test_a_fault_and_a_case_without_one_are_judged() -> None:
    told = judge(made({"c"}), lambda case: [("c", 0.7), ("b", 0.2)])
    assert (told.ac[0], told.answered, told.chance, told.right) == (1, True, 0.7, True)
    told = judge(made(set()), lambda case: [("c", 0.7)])
    assert (told.ac, told.answered, told.right) == ((), True, False)
    assert not judge(made(set()), lambda case: []).answered


def test_rows_are_averaged_by_what_they_can_say() -> None:
    rows = [row((ENGINE, answer(1.0))), row((ENGINE, answer(0.0))), row((ENGINE, Answer((), True, 1.0)))]
    assert (len(faults(rows)), len(calm(rows))) == (2, 1)
    assert mean(faults(rows), ENGINE, at(1)) == mean(faults(rows), ENGINE, average) == 0.5


def test_a_rule_is_better_beyond_chance_only_when_it_is_so_again_and_again() -> None:
    luck = [row((ENGINE, answer(1.0)), ("rule", answer(1.0)))] * 9
    luck.append(row((ENGINE, answer(0.0)), ("rule", answer(1.0))))
    assert beaten(luck, "rule", at(1)) == (pytest.approx(0.1), False)
    assert beaten(luck * 9, "rule", at(1)) == (pytest.approx(0.1), True)
    assert beaten(luck * 9, ENGINE, at(1)) == (0.0, False)


def test_confidence_is_held_against_what_was_right() -> None:
    rows = [row((ENGINE, answer(1.0, 0.85))), row((ENGINE, answer(0.0, 0.81))), row((ENGINE, answer(1.0, 1.0)))]
    rows.append(row((ENGINE, answer(0.0, 0.0, answered=False))))
    assert reliability(rows, ENGINE) == [
        (0.8, 0.9, 2, pytest.approx(0.83), 0.5),
        (0.9, 1.0, 1, pytest.approx(1.0), 1.0),
    ]


def test_the_verdict_names_what_beats_the_engine_and_by_how_much() -> None:
    losing = dict.fromkeys(BASELINES, answer(0.0)) | {"codebook": answer(1.0)}
    lines, kept = report.verdicts({"service": [row((ENGINE, answer(0.0)), *losing.items())] * 3})
    assert lines == ["service: AC@1 of codebook is 1.00 better; AC@3 of codebook is 1.00 better"]
    assert not kept
    lines, kept = report.verdicts({"service": [row((ENGINE, answer(1.0)), *losing.items())] * 3})
    assert lines == ["service: no simple rule is better"]
    assert kept


# ---- simple rules


@pytest.mark.parametrize("rule", BASELINES.values(), ids=BASELINES)
def test_a_rule_blames_nobody_where_nothing_fails(rule: Any) -> None:
    assert rule(CHAIN, critical(CHAIN, "a", 0) + passing(CHAIN, "a", 30), 60.0) == []


def test_each_rule_has_its_own_mind() -> None:
    late = critical(CHAIN, "c", 20), critical(CHAIN, "b", 10), critical(CHAIN, "a", 15)
    assert best(first_to_fail, *late) == "b"
    assert best(no_failing_dependency, *late) == "c"
    assert best(pagerank, *late) == "c"


def test_a_shared_dependency_is_found_though_it_is_green() -> None:
    star = mesh({"a": ["r"], "b": ["r"], "c": ["r"], "r": []}, nodes=8)
    flips = [critical(star, name, 10) for name in "abc"]
    assert best(set_cover, *flips, topology=star) == best(codebook, *flips, topology=star) == "r"


def test_warnings_count_where_nothing_is_critical_and_old_or_planned_troubles_never() -> None:
    assert failing(warning(CHAIN, "a", 10), 60.0) == {"a": 10.0}
    assert failing(warning(CHAIN, "a", 10) + critical(CHAIN, "b", 20), 60.0) == {"b": 20.0}
    assert failing(critical(CHAIN, "a", -2_000), 60.0) == {}
    planned = [{**flip, "check": f"_service_maintenance:{flip['instance']}"} for flip in critical(CHAIN, "a", 5)]
    assert failing(planned + critical(CHAIN, "a", 10), 60.0) == {}


# ---- the whole


def test_every_ranker_answers_every_case() -> None:
    case = made({"c"}, critical(CHAIN, "c", 0), critical(CHAIN, "b", 10))
    (told,) = run([("", case)], rankers(with_oracles=False))
    assert list(told.answers) == [*BASELINES, ENGINE]
    assert told.answers[ENGINE].right


def test_cases_of_ones_own_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = {"kind": "hidden", "root_services": ["c"], "root_nodes": [], "root_zones": []}
    line = {
        "name": "one",
        "topology_id": "chain.0",
        "now": 60.0,
        "events": critical(CHAIN, "c", 0),
        "truth": truth,
    }
    (tmp_path / "topologies").mkdir()
    (tmp_path / "cases").mkdir()
    (tmp_path / "topologies" / "mine.json.gz").write_bytes(gzip.compress(json.dumps({"chain.0": CHAIN}).encode()))
    lines = [line, {**line, "truth": {**truth, "direct_callers_failing": 2}}]
    (tmp_path / "cases" / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [(group, case.mesh, case.family) for group, case in load(tmp_path)] == [
        ("mine", "chain", "hidden"),
        ("mine", "chain", "hidden, >= 2 callers fail"),
    ]
    assert alone(["--cases-dir", str(tmp_path)])
    assert "mine: hidden" in capsys.readouterr().out


def test_the_tables_find_their_place_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench: cases -->\nold\n<!-- end -->\nafter\n")
    write(page, "cases", "new")
    write(page, "cases", "newer")
    assert page.read_text() == "before\n<!-- bench: cases -->\nnewer\n<!-- end -->\nafter\n"
    with pytest.raises(SystemExit):
        write(page, "external", "new")


def test_the_command_tells_its_figures_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    alone(["--cases", "6", "--mesh", "bookinfo", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["groups"]["all"]["consulguard"].keys() >= {"ac1", "ac3", "avg5", "false_blame", "p95_ms"}
    assert told["groups"]["all"]["oracle"]["faults"] == 5
    assert sum(group["answers"] for group in told["reliability"]) <= 6
