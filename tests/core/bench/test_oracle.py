"""The oracle knows the simulator: what it says of checks by hand, and that its draws agree however they lean."""

from __future__ import annotations

import random
from dataclasses import replace
from math import exp
from statistics import fmean

import pytest
from bench.correlation import report
from bench.correlation.evaluate import ENGINE, ORACLE, Answer, Row
from bench.correlation.meshes import PUBLIC
from bench.correlation.oracle import oracle
from bench.correlation.oracle.chances import shows
from bench.correlation.oracle.deploys import deployed
from bench.correlation.oracle.evidence import Evidence
from bench.correlation.oracle.looks import Look, Manner, silent
from bench.correlation.oracle.spread import Spread
from bench.correlation.simulate import Case, cases
from bench.correlation.world import world

EVERY_TEN = Manner(10.0, 1, 1)
RATE = 1 / 20_000


def look(*flips: tuple[float, bool]) -> Look:
    return Look(EVERY_TEN, flips, 120.0, RATE, 0.001)


def some(kind: str, count: int = 4) -> list[Case]:
    return list(cases(count, seed=11, kinds=(kind,), meshes=("bookinfo", "online-boutique")))


# ---- one check


def test_a_check_that_stays_bad_tells_of_an_ill_that_began_just_before() -> None:
    whole = look((60.0, True)).past().ill[0]
    assert max(range(len(whole)), key=lambda age: whole[age]) in range(20, 24)
    assert whole[21] > 1_000
    assert max(whole[10], whole[40]) < whole[21] / 10  # it was seen before; it would have been seen sooner


def test_a_blip_that_is_over_tells_of_nothing() -> None:
    assert max(look((60.0, True), (80.0, False)).past().ill[0][:25]) < 1


def test_silence_speaks_against_an_ill_the_louder_the_longer_it_lasts() -> None:
    told = silent(EVERY_TEN).ill[0]
    assert told[0] > 0.9
    assert told[3] > told[6] > told[20]
    assert silent(Manner(30.0, 3, 1)).ill[0][20] > 10 * told[20]  # a slow check need not have seen it


def test_units_that_fail_one_after_the_other_were_restarted() -> None:
    first, second = look((20.0, True), (40.0, False)), look((50.0, True), (70.0, False))
    assert deployed([[first], [second]]) > 100 * deployed([[second], [first]])


# ---- faults


def test_leaning_changes_how_often_it_is_drawn_and_not_what_comes_of_it() -> None:
    case = next(c for c in some("service", 8) if len(Evidence(c).noisy) > 1)
    told = []
    for leans in (True, False):
        spread = Spread(Evidence(case), random.Random(5))
        if not leans:
            spread.above = dict.fromkeys(spread.above, 0.0)
        (root,) = case.truth
        told.append(fmean(exp(spread.draw([(root, 20, 1.0)]).weight) for _ in range(4_000)))
    assert told[0] == pytest.approx(told[1], rel=0.2)


def test_what_seldom_shows_is_drawn_anew_the_oftener() -> None:
    told = shows(world("online-boutique", 0, 0))
    assert 1 <= told.service < told.hidden < told.hidden_two


def test_it_blames_nobody_where_nothing_was_heard() -> None:
    (case,) = some("none", 1)
    assert oracle(replace(case, events=[])) == []


def test_it_mostly_finds_what_is_to_be_found_and_says_the_same_twice() -> None:
    found = [case.truth & {entity for entity, _ in oracle(case)[:3]} for case in some("node")]
    assert sum(map(bool, found)) >= 3
    (case,) = some("double", 1)
    assert oracle(case) == oracle(case)


def test_it_stands_beside_the_engine_on_the_cases_that_it_is_asked() -> None:
    right, wrong = Answer((1.0,) * 5, True, 1.0), Answer((0.0,) * 5, True, 1.0)
    asked = Row("", "node", next(iter(PUBLIC)), 5, {ENGINE: wrong, ORACLE: right})
    other = Row("", "node", "power-law-1k", 1_000, {ENGINE: right})
    row = report.ceiling([asked, other]).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["node", "1", "0.00/0.00", "1.00/1.00"]
    assert report.ceiling([other]) == ""
