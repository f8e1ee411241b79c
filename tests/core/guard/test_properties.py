"""What holds for every situation: the floor, the limits, and that things getting worse never frees a hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from consulguard.guard import ORDER, combine, judge
from consulguard.guard.min_healthy import DOWN
from consulguard.guard.situation import Situation, Storm
from consulguard.model import ActionInfo, Alternative, Decision, Mode, Pause, Role, Root, State, Status, Target
from consulguard.policy import Blackout, Opening, Window
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.guard.rows import silence
from tests.core.guard.scenes import (
    DRAIN,
    NOW,
    PAY,
    RESTART,
    ROUTE,
    TELL,
    ago,
    an_attempt,
    an_intent,
    change,
    scene,
)

GUARDS = dict(ORDER)
SHUT = Window(open=(Opening(days=(0,), start=0, end=1),))  # it is Thursday
DARK = Window(closed=(Blackout(since=ago(1), until=NOW + timedelta(hours=1)),))
SVC = Target(dc="dc1", service="pay-api")
TARGETS = st.builds(
    lambda service, node, which: Target(
        dc="dc1",
        service=service if which != "node" else "",
        node=f"n{node}" if which != "service" else "",
        instance=f"{service}-{node}" if which == "instance" else "",
    ),
    st.sampled_from(["pay-api", "shop", "cart"]),
    st.integers(1, 5),
    st.sampled_from(["instance", "instance", "service", "node"]),
)
ATTEMPTS = st.builds(
    lambda age, target, playbook, outcome: an_attempt(age, target, playbook=playbook, outcome=outcome),
    st.floats(0, 8000),
    TARGETS,
    st.sampled_from(["drain", "other"]),
    st.sampled_from(["", "verified", "failed", "inconclusive", "escalated"]),
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Anything between all well and all wrong, mostly nearly well."""

    def rarely(usual: Any, strategy: st.SearchStrategy[Any]) -> Any:
        return draw(strategy) if draw(st.integers(0, 5)) == 0 else usual

    action: ActionInfo = draw(st.sampled_from([DRAIN, DRAIN, RESTART, ROUTE, TELL]))
    target = rarely(PAY, TARGETS)
    expected = draw(st.integers(0, 30))
    healthy = draw(st.integers(0, expected))
    status = rarely(Status.CRITICAL, st.sampled_from(Status))
    s = scene(
        action=action,
        intent={"action": action.name, "target": target, "params": {}},
        subject={
            "target": target,
            "expected": expected,
            "healthy": healthy,
            "state": rarely(State.CRITICAL, st.sampled_from(State)),
            "role": rarely(Role.ROOT_CAUSE, st.sampled_from(Role)),
            "since": ago(rarely(300.0, st.floats(0, 400))),
            "looks": rarely(5, st.integers(0, 5)),
        },
        looked={"target": target, "status": status, "healthy": healthy, "registered": expected},
        playbook={
            "limits": {"allow_last_instance": draw(st.booleans())},
            "mode": rarely(Mode.AUTO, st.sampled_from(Mode)),
        },
        matched=rarely(1, st.integers(0, 30)),
        open_intents=tuple(an_intent(t) for t in rarely([], st.lists(TARGETS, max_size=5))),
        attempts=tuple(rarely([], st.lists(ATTEMPTS, max_size=30))),
        view={"as_of": ago(rarely(1.0, st.floats(0, 100))), "settled": rarely(True, st.booleans())},
        first_effect=rarely(True, st.booleans()),
        policy={
            "guard": {
                "window": rarely("", st.sampled_from(["shut", "dark", "nobody's"])),
                "windows": {"shut": SHUT, "dark": DARK},
                "max_open_per_service": draw(st.integers(1, 4)),
                "max_share": draw(st.sampled_from([0.1, 0.5, 1.0])),
            }
        },
    )
    return change(s, phase="plan", looked=None) if draw(st.integers(0, 4)) == 0 else s


def one_more_unhealthy(s: Situation) -> Situation:
    s = change(s, subject={"healthy": max(s.subject.healthy - 1, 0)})
    return change(s, looked={"healthy": max(s.looked.healthy - 1, 0)}) if s.looked else s


def older(s: Situation) -> Situation:
    """All we know was learned a while earlier."""
    back = timedelta(seconds=40)
    assert s.view.as_of is not None
    assert s.graph_at is not None
    s = change(s, view={"as_of": s.view.as_of - back}, graph_at=s.graph_at - back * 20)
    return change(s, looked={"at": s.looked.at - back}) if s.looked else s


WORSE: dict[str, Callable[[Situation], Situation]] = {
    "one more unhealthy": one_more_unhealthy,
    "older": older,
    "a pause": lambda s: change(s, pauses=(*s.pauses, Pause(who="ann", why="x", since=NOW))),
    "a stop": lambda s: change(s, pauses=(*s.pauses, Pause(who="ann", why="x", since=NOW, depth="stop"))),
    "a silence": lambda s: change(s, silence=silence()),
    "another at work here": lambda s: change(s, open_intents=(*s.open_intents, an_intent(SVC))),
    "another at work on the node": lambda s: change(
        s, open_intents=(*s.open_intents, an_intent(Target(dc="dc1", node="n1")))
    ),
    "another at work elsewhere": lambda s: change(
        s, open_intents=(*s.open_intents, an_intent(Target(dc="dc1", service="x", node="n8", instance="x-1")))
    ),
    "another try": lambda s: change(s, attempts=(*s.attempts, an_attempt(50, outcome="failed", playbook="drain"))),
    "an older try": lambda s: change(s, attempts=(an_attempt(3000, playbook="drain"), *s.attempts)),
    "storm": lambda s: change(s, storm=Storm(on=True, since=NOW, reason="much fails")),
    "untrusted": lambda s: change(s, view={"trusted": False}),
    "unsettled": lambda s: change(s, view={"settled": False}),
    "a failing dependency": lambda s: change(s, subject={"depends_on_failing": ("db",)}),
    "not the root": lambda s: change(s, subject={"role": Role.AFFECTED}),
    "more matched": lambda s: change(s, matched=s.matched + 20) if s.matched else s,
    "seen less often": lambda s: change(s, subject={"looks": 0}),
    "failing since just now": lambda s: change(s, subject={"since": NOW}),
    "a new root": lambda s: change(s, incident={"root_since": NOW}),
    "lease lost": lambda s: change(s, lease_held=False),
    "observe": lambda s: change(s, policy={"mode": Mode.OBSERVE}),
    "nobody knows the action": lambda s: change(s, action=None),
    "left alone": lambda s: change(s, subject={"meta": {"consulguard.io/skip": "1"}}),
    "outside the window": lambda s: change(s, policy={"guard": {"window": "shut", "windows": {"shut": SHUT}}}),
    "a blackout": lambda s: change(s, policy={"guard": {"window": "dark", "windows": {"dark": DARK}}}),
    "flapping": lambda s: change(s, subject={"state": State.FLAPPING}) if s.subject.state is State.CRITICAL else s,
    "did not help lately": lambda s: change(s, record=(*s.record, "failed", "failed", "failed")),
    "tried often": lambda s: change(s, attempts=(*s.attempts, *(an_attempt(50, playbook="drain"),) * 2)),
    "nothing matched": lambda s: change(s, matched=0) if s.matched <= s.policy.guard.match_cap else s,
    "a stricter floor": lambda s: change(s, policy={"guard": {"min_healthy": 0.9}}),
    "a rollout": lambda s: change(s, looked={"holds": ("a rollout is in progress",)}) if s.looked else s,
    "denied": lambda s: change(s, policy={"guard": {"deny": ("pay-api", "shop", "cart")}}),
}


@pytest.mark.parametrize("name", [name for name, _ in ORDER])
def test_every_guard_knows_a_way_of_getting_worse(name: str) -> None:
    """Else the property below says nothing about it."""
    calm = scene()
    assert GUARDS[name](calm).decision is Decision.ALLOW
    assert any(GUARDS[name](worse(calm)).decision is not Decision.ALLOW for worse in WORSE.values())


@settings(max_examples=300)
@given(situations(), st.sampled_from(sorted(WORSE)))
def test_what_gets_worse_never_frees_a_hold(s: Situation, what: str) -> None:
    """I14, for every single guard and so for all together."""
    before = {v.guard: v for v in judge(s)}
    for verdict in judge(WORSE[what](s)):
        if before[verdict.guard].decision is not Decision.ALLOW:
            assert verdict.decision is not Decision.ALLOW, (what, before[verdict.guard], verdict)


@settings(max_examples=300)
@given(situations())
def test_a_verdict_is_complete_and_repeatable(s: Situation) -> None:
    verdicts = judge(s)
    assert [v.guard for v in verdicts] == [name for name, _ in ORDER]
    assert verdicts == judge(s)
    for v in verdicts:
        assert v.reason
        assert (v.retry_at is not None) is (v.decision is Decision.WAIT)
        assert v.retry_at is None or v.retry_at > s.at
    assert "cannot be evaluated" not in " ".join(v.reason for v in verdicts)


@given(
    expected=st.integers(1, 40),
    healthy=st.integers(0, 40),
    percent=st.integers(0, 100),
    others=st.integers(0, 4),
    status=st.sampled_from([Status.CRITICAL, Status.PASSING, Status.WARNING, Status.ABSENT]),
    undo=st.booleans(),
)
def test_never_below_the_floor_by_our_own_hand(
    expected: int, healthy: int, percent: int, others: int, status: Status, undo: bool
) -> None:
    """I12, on the confirm-read."""
    at_work = tuple(
        an_intent(Target(dc="dc1", service="pay-api", node=f"m{n}", instance=f"x{n}")) for n in range(others)
    )
    s = scene(
        subject={"expected": expected, "healthy": 40},
        looked={"healthy": healthy, "registered": min(healthy, expected), "status": status},
        policy={"guard": {"min_healthy": percent / 100}},
        open_intents=at_work,
        undo=undo,
    )
    answer = GUARDS["min_healthy"](s)
    serving = int(status is Status.PASSING)
    left = healthy - others - serving
    holds = left >= 1 and left * 100 >= percent * max(expected, s.looked.registered if s.looked else 0)
    last_is_down = expected == 1 and healthy == 0 and status in DOWN
    if (undo and not serving) or last_is_down:
        assert answer.decision is Decision.ALLOW
    else:
        assert (answer.decision is Decision.ALLOW) is (holds and expected > 1), answer.reason


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 100))
def test_the_share_is_exact_and_one_is_free_only_above_the_floor(
    expected: int, healthy: int, percent: int
) -> None:
    free = {"max_open": 99, "max_open_per_service": 99, "max_open_per_node": 99, "max_share": percent / 100}
    s = scene(
        subject={"expected": expected}, looked={"healthy": healthy, "registered": expected}, policy={"guard": free}
    )
    by_share = expected * percent // 100
    above = GUARDS["min_healthy"](s).decision is Decision.ALLOW
    assert (GUARDS["blast_radius"](s).decision is Decision.ALLOW) is (by_share >= 1 or above)


@given(st.lists(TARGETS, max_size=8), TARGETS)
def test_started_runs_stay_within_all_limits(wanted: list[Target], last: Target) -> None:
    """I3: let runs start one by one while nothing ends; at every moment the limits hold."""
    started: list[Target] = []
    for target in [*wanted, last]:
        s = scene(
            intent={"target": target},
            subject={"target": target},
            looked={"target": target, "healthy": 4},
            open_intents=tuple(an_intent(t) for t in started),
        )
        if combine(judge(s)).decision in (Decision.ALLOW, Decision.ASK):
            started.append(target)
    assert len(started) <= 3
    for key in (lambda t: t.service, lambda t: t.node):
        named = [key(t) for t in started if key(t)]
        assert len(named) == len(set(named))


@given(st.lists(ATTEMPTS, max_size=40), st.booleans())
def test_a_run_start_is_within_pace_and_budget(attempts: list[Any], first: bool) -> None:
    s = scene(attempts=tuple(attempts), first_effect=first)
    if GUARDS["blast_radius"](s).decision is Decision.ALLOW and first:
        ages = [(NOW - a.at).total_seconds() for a in attempts]
        assert min(ages, default=10) >= 10
        hour = [a for a, age in zip(attempts, ages, strict=True) if age < 3600]
        assert len(hour) < 20
        assert sum(a.service == SVC.key for a in hour) < 5
    if not first:
        for name in ("blast_radius", "cooldown", "attempt_cap", "hold_down"):
            assert GUARDS[name](s).decision is Decision.ALLOW


@given(st.integers(1, 6), st.text(max_size=8), st.sampled_from([None, 60.0, 900.0, 9000.0]))
def test_a_rest_is_doubled_give_or_take_a_fifth_and_decided_by_the_run(
    tries: int, run: str, own: float | None
) -> None:
    attempts = [an_attempt(10.0 * (tries - n), run=f"{run}{n}") for n in range(tries)]
    s = scene(attempts=tuple(attempts), playbook={"limits": {"cooldown_s": own}})
    answer = GUARDS["cooldown"](s)
    assert answer.retry_at is not None
    rest = (answer.retry_at - attempts[-1].at).total_seconds()
    base = max(120.0, own or 0.0)
    plain = base * 2 ** (tries - 1)
    most = max(3600.0, base)
    assert min(0.8 * plain, most) - 0.01 <= rest <= min(1.2 * plain, most) + 0.01
    assert GUARDS["cooldown"](s) == answer
    others = [GUARDS["cooldown"](change(s, attempts=(an_attempt(10, run=f"r{n}"),))) for n in range(9)]
    assert len({answer.retry_at for answer in others}) > 1


@given(st.lists(ATTEMPTS, max_size=40))
def test_when_the_wait_is_over_it_is_over(attempts: list[Any]) -> None:
    """``retry_at`` of the guards that count time is neither too early nor a promise that is not kept."""
    s = scene(attempts=tuple(attempts))
    for name in ("blast_radius", "cooldown"):
        answer = GUARDS[name](s)
        if answer.retry_at is not None:
            just_before = change(s, at=answer.retry_at - timedelta(milliseconds=1))
            assert GUARDS[name](just_before).decision is not Decision.ALLOW
            assert GUARDS[name](change(s, at=answer.retry_at)).decision is Decision.ALLOW


@given(st.lists(st.floats(0, 20_000), max_size=10), st.integers(0, 4), st.integers(0, 3))
def test_attempts_on_a_replaced_instance_count(ages: list[float], most: int, own: int) -> None:
    """I5: under another instance id each time, still capped."""
    attempts = tuple(
        an_attempt(age, Target(dc="dc1", service="pay-api", node="n1", instance=f"pay-{i}"), playbook="drain")
        for i, age in enumerate(ages)
    )
    s = scene(
        attempts=attempts, playbook={"limits": {"attempts_max": own}}, policy={"guard": {"attempts_max": most}}
    )
    used = sum(age < 3600 for age in ages)
    assert (GUARDS["attempt_cap"](s).decision is Decision.DENY) is (used >= min(most, own))


@given(st.text(min_size=1, max_size=140))
def test_only_plain_names_reach_an_argv(name: str) -> None:
    target = Target(dc="dc1", service="pay-api", node="n1", instance=name)
    s = scene(intent={"target": target, "action": RESTART.name}, action=RESTART)
    plain = len(name) <= 128 and all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    safe = plain and not name.startswith("-")
    assert (GUARDS["self_protection"](s).decision is Decision.ALLOW) is safe


@given(st.sampled_from(Status), st.sampled_from(State), st.floats(0, 20), st.booleans())
def test_a_first_effect_needs_a_fresh_read_that_is_not_passing(
    status: Status, state: State, age: float, error: bool
) -> None:
    """I7."""
    s = scene(
        subject={"state": state}, looked={"status": status, "at": ago(age), "error": "gone" if error else ""}
    )
    if GUARDS["confirm"](s).decision is Decision.ALLOW:
        assert not error
        assert (NOW - ago(age)).total_seconds() <= 5
        assert status not in (Status.PASSING, Status.UNKNOWN)


@given(
    st.lists(st.tuples(st.sampled_from(["pause", "stop"]), st.none() | st.integers(-5, 5)), max_size=5),
    st.booleans(),
)
def test_paused_while_any_reason_is_left(pauses: list[tuple[str, int | None]], first: bool) -> None:
    """I6."""
    made = tuple(
        Pause(who="ann", why="x", since=ago(99), depth=d, until=None if u is None else NOW + timedelta(seconds=u))
        for d, u in pauses
    )
    active = [d for d, u in pauses if u is None or u > 0]
    held = bool(active) if first else "stop" in active
    answer = GUARDS["pause"](scene(pauses=made, first_effect=first))
    assert (answer.decision is Decision.WAIT) is held


@given(
    st.sampled_from(Role),
    st.lists(st.sampled_from(["db", "cache"]), max_size=2),
    st.sampled_from([DRAIN, TELL, ROUTE]),
)
def test_only_a_root_with_sound_dependencies_is_touched(
    role: Role, failing: list[str], action: ActionInfo
) -> None:
    """I11."""
    s = scene(subject={"role": role, "depends_on_failing": tuple(failing)}, action=action)
    allowed = GUARDS["role"](s).decision is Decision.ALLOW
    assert allowed is (action is TELL or (role is Role.ROOT_CAUSE and not failing))


@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=3), st.booleans(), st.sampled_from([DRAIN, TELL]))
def test_where_we_do_not_know_and_something_else_is_likelier_a_person_decides(
    own: float, others: list[float], unknown: bool, action: ActionInfo
) -> None:
    root = Root(kind="service", name="db", datacenter="dc1")
    told = tuple(Alternative(root=root, confidence=chance, why="its own checks pass") for chance in others)
    s = scene(incident={"confidence": own, "alternatives": told, "unknown": unknown}, action=action)
    asked = GUARDS["role"](s).decision is Decision.ASK
    assert asked is (action is DRAIN and unknown and any(chance > own for chance in others))


def test_a_flapping_thing_that_only_warns_is_not_what_a_critical_playbook_is_for() -> None:
    s = scene(subject={"state": State.FLAPPING}, looked={"status": Status.WARNING})
    assert GUARDS["confirm"](s).decision is Decision.WAIT
