"""The oracles know the simulator: what they say of checks by hand, and that draws agree however they lean."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from math import exp, log
from statistics import fmean

import pytest
from bench.correlation import report
from bench.correlation.evaluate import ENGINE, ORACLE, SHOWN, UNRATED, Answer, Row
from bench.correlation.meshes import PUBLIC
from bench.correlation.oracle import onlooker, oracle, outsider
from bench.correlation.oracle.belief import Belief, seen, shown, told, unrated
from bench.correlation.oracle.chances import shows
from bench.correlation.oracle.deploys import Brief, deployed
from bench.correlation.oracle.evidence import Evidence
from bench.correlation.oracle.heard import Heard
from bench.correlation.oracle.kits import Kits, Sight
from bench.correlation.oracle.looks import BINS, Look, silent, timing
from bench.correlation.oracle.manners import Manner
from bench.correlation.oracle.rates import TOLD, UNTOLD
from bench.correlation.oracle.spread import Spread
from bench.correlation.simulate import NOWS, Case, cases
from bench.correlation.state import Ranking
from bench.correlation.world import SIGHTS, world
from consulguard.correlate.cause.weights import WEIGHTS

EVERY_TEN = Manner(10.0, 1, 1)
RATE, FLAPPER = 1 / 20_000, 0.001


def look(*flips: tuple[float, bool]) -> Look:
    return Look(EVERY_TEN, flips, 120.0, RATE)


def brief(*flips: tuple[float, bool]) -> Brief:
    seen = look(*flips)
    return lambda age_s, length_s: seen.brief(age_s, length_s) / seen.noise(FLAPPER)


def some(kind: str, count: int = 4) -> list[Case]:
    return list(cases(count, seed=11, kinds=(kind,), meshes=("bookinfo", "online-boutique")))


# ---- one check


def test_a_check_that_stays_bad_tells_of_an_ill_that_began_just_before() -> None:
    whole = look((60.0, True)).past(FLAPPER).ill[0]
    assert max(range(len(whole)), key=lambda age: whole[age]) in range(20, 24)
    assert whole[21] > 1_000
    assert max(whole[10], whole[40]) < whole[21] / 10  # it was seen before; it would have been seen sooner


def test_a_blip_that_is_over_tells_of_nothing() -> None:
    assert max(look((60.0, True), (80.0, False)).past(FLAPPER).ill[0][1:25]) < 0.1


def test_silence_speaks_against_an_ill_the_louder_the_longer_it_lasts() -> None:
    ill = silent(EVERY_TEN).ill[0]
    assert ill[0] > 0.9
    assert ill[3] > ill[6] > ill[20]
    assert silent(Manner(30.0, 3, 1)).ill[0][20] > 10 * ill[20]  # a slow check need not have seen it


def test_units_that_fail_one_after_the_other_were_restarted() -> None:
    first, second = brief((20.0, True), (40.0, False)), brief((50.0, True), (70.0, False))
    assert deployed([[first], [second]]) > 100 * deployed([[second], [first]])


def test_a_late_flip_that_came_with_the_next_takes_no_sign_from_a_check_that_stays_bad() -> None:
    both = look((60.0, True), (91.0, False), (91.0, True)).past(FLAPPER).ill[0]
    assert both == look((60.0, True)).past(FLAPPER).ill[0]


def test_the_moments_of_flips_tell_how_often_a_check_looks() -> None:
    flips = ((40.3, True), (55.9, False), (85.1, True))
    assert timing(flips, 15.0, 120.0) > timing(flips, 10.0, 120.0) + 3
    assert timing(flips, 5.0, 120.0) > timing(flips, 15.0, 120.0)  # a quick one may have looked then as well


# ---- what is believed of checks and calls


def heard(*flips: tuple[float, str, str]) -> tuple[str, list[tuple[float, list[Sight]]]]:
    """Of a service with several units: moment, check and status of each flip of the first."""
    (case,) = some("none", 1)
    belief = shown(case.topology)
    service = next(s for s, units in belief.units.items() if len(units) > 1 and len(belief.kits[s]) > 1)
    unit = belief.units[service][0]
    events = [
        {"t": t, "service": service, "instance": unit, "check": check, "status": status}
        for t, check, status in flips
    ]
    return service, Kits(Heard(replace(case, events=events, now=120.0), belief), belief).of(service)


def test_a_silent_service_may_have_any_checks_and_one_that_was_heard_has_that() -> None:
    _, kits = heard()
    assert sum(chance for chance, _ in kits) == pytest.approx(1)
    assert len(kits) == 9
    _, kits = heard((60.0, "grpc", "critical"))
    assert {tuple(sight.name for sight in sights) for _, sights in kits} == {("grpc",), ("grpc", "tcp")}


def test_flips_tell_of_the_interval_of_a_check() -> None:
    _, kits = heard((30.2, "http", "critical"), (45.4, "http", "passing"), (90.8, "http", "critical"))
    (http,) = max(kits, key=lambda kit: kit[0])[1]
    every = {way.manner.every_s for way in http.ways}
    assert every == {5.0, 15.0}
    assert sum(way.chance for way in http.ways) == pytest.approx(1)


def test_a_call_that_is_shown_is_believed_and_one_that_is_not_hardly() -> None:
    belief = shown(world("train-ticket", 0, 0).topology)
    (strong,) = set(belief.calls.values())
    assert belief.stranger is not None
    assert 0.55 < strong.chance < 0.68
    assert 0 < belief.stranger.chance < 0.01
    assert belief.called["station"] > 0.99
    assert 0 < belief.called["ui-dashboard"] < 0.3  # somebody may call it without our knowing


def test_an_outsider_believes_what_the_engine_does_and_takes_one_for_another() -> None:
    assert UNTOLD.often is not None
    assert UNTOLD.often.hidden == 1 - WEIGHTS.sees_own
    assert UNTOLD.own == UNTOLD.sick
    assert sum(UNTOLD.own) == pytest.approx(sum(UNTOLD.suffers)) == pytest.approx(sum(TOLD.suffers)) == 1
    ages = [age for span in UNTOLD.ages for age in span]
    assert ages == list(range(1, ages[-1] + 1))
    assert {3.0 * age for span in TOLD.ages for age in span} == set(NOWS) < {3.0 * age for age in ages}
    kinds = {
        kind for kits in unrated(world("bookinfo", 0, 0).topology).kits.values() for kit, _ in kits for kind in kit
    }
    assert {kind.name for kind in kinds} == set(SIGHTS)
    assert len({(kind.own, kind.deps) for kind in kinds}) == 1


def test_to_an_outsider_faults_are_as_often_as_to_the_engine() -> None:
    often, w = UNTOLD.often, WEIGHTS
    assert often is not None
    assert (often.log_of("node:n", ()), often.log_of("zone:z", ())) == (w.node, w.zone)
    seen, unseen = (often.log_of("a", (hidden,)) for hidden in (False, True))
    assert exp(seen) + exp(unseen) == pytest.approx(exp(w.service))
    assert often.log_of("a", (False, True)) == pytest.approx(seen + w.second + log(1 - w.sees_own))


# ---- faults


@pytest.mark.parametrize("believed", ["told", "shown"])
def test_leaning_changes_how_often_it_is_drawn_and_not_what_comes_of_it(believed: str) -> None:
    case = next(c for c in some("service", 8) if len(Heard(c, truth(c)).noisy) > 1)
    evidence = Evidence(case, truth(case) if believed == "told" else shown(case.topology))
    found = []
    for leans in (True, False):
        spread = Spread(evidence, random.Random(5))
        if not leans:
            spread.fits = {s: [1.0] * BINS for s in spread.near}
        (root,) = case.truth
        found.append(fmean(exp(spread.draw([(root, 20, 1.0)]).weight) for _ in range(4_000)))
    assert found[0] == pytest.approx(found[1], rel=0.2)


def truth(case: Case) -> Belief:
    assert case.world is not None
    return told(case.world)


def test_what_seldom_shows_is_drawn_anew_the_oftener() -> None:
    for belief in (told(world("online-boutique", 0, 0)), shown(world("online-boutique", 0, 0).topology)):
        found = shows(belief)
        assert 1 <= found.service < found.hidden < found.hidden_two
    assert set(shows(unrated(world("online-boutique", 0, 0).topology))) == {1.0}  # nobody tells an outsider


def test_it_blames_nobody_where_nothing_was_heard() -> None:
    (case,) = some("none", 1)
    assert not any(rule(replace(case, events=[])) for rule in (oracle, onlooker, outsider))


def test_it_mostly_finds_what_is_to_be_found_and_says_the_same_twice() -> None:
    found = [case.truth & {entity for entity, _ in oracle(case)[:3]} for case in some("node")]
    assert sum(map(bool, found)) >= 3
    (case,) = some("double", 1)
    assert oracle(case) == oracle(case)


@pytest.mark.parametrize("rule", [onlooker, outsider])
def test_it_is_told_no_more_than_is_shown(rule: Callable[[Case], Ranking]) -> None:
    for case in some("hidden", 2):
        found = rule(case)
        assert found
        assert rule(replace(case, world=None, kind="", truth=frozenset(), callers_failing=None)) == found


def test_what_one_believes_of_the_silent_is_kept_from_the_other() -> None:
    (case,) = some("none", 1)
    silent = replace(case, events=[])
    other = replace(TOLD, sick=UNTOLD.sick, suffers=UNTOLD.suffers)
    one, two = (Evidence(silent, seen(case.topology, rates)) for rates in (TOLD, other))
    service = next(s for s in case.topology["services"] if s not in case.topology["unchecked"])
    assert one.suffers(service) != two.suffers(service)
    assert one.sick(f"{service}-0", 20) != two.sick(f"{service}-0", 20)


@pytest.mark.parametrize("kind", ["hidden", "service"])
def test_what_is_planned_in_one_case_says_nothing_of_the_next(kind: str) -> None:
    for case in some(kind, 4):
        fresh, used = (replace(case, topology=deepcopy(case.topology)) for _ in range(2))
        heard = {event["service"] for event in case.events}
        planned = [
            {"t": 0.0, "service": s, "instance": i, "check": f"_service_maintenance:{i}", "status": "critical"}
            for i, s in case.topology["instances"].items()
            if s not in heard
        ]
        onlooker(replace(used, events=[*case.events, *planned]))
        assert onlooker(used) == onlooker(fresh)


def test_it_stands_beside_the_engine_on_the_cases_that_it_is_asked() -> None:
    right, wrong = Answer((1.0,) * 5, True, 1.0), Answer((0.0,) * 5, True, 1.0)
    asked = Row("", "node", next(iter(PUBLIC)), 5, {ENGINE: wrong, UNRATED: wrong, SHOWN: right, ORACLE: right})
    other = Row("", "node", "power-law-1k", 1_000, {ENGINE: right})
    row = report.ceiling([asked, other]).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["node", "1", *["0.00/0.00"] * 2, *["1.00/1.00"] * 2]
    assert report.ceiling([other]) == ""
