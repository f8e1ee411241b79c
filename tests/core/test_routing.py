"""The tree sends a message where Alertmanager's would, and a mute ends when it says."""

from datetime import UTC, datetime, timedelta

from consulguard.guard.hours import is_open
from consulguard.plan.matcher import matches, parse_matcher
from consulguard.policy import Opening, Route, Window
from consulguard.routing import LABELS, chosen, muted_until, not_before
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
NIGHTS = Window(zone="Europe/Berlin", open=(Opening(days=tuple(range(7)), start=22 * 60, end=6 * 60),))


def route(receiver, *below, fits=(), **fields):
    wanted = tuple(parse_matcher(text, LABELS) for text in fits)
    return Route(receiver=receiver, matchers=wanted, routes=below, **fields)


def told(tree, **labels):
    return [leaf.receiver for leaf in chosen(tree, {name: (value,) for name, value in labels.items()})]


TREE = route(
    "all",
    route("audit", fits=['severity=~".+"'], more=True),
    route(
        "payments",
        route("payments-pager", fits=['severity="critical"']),
        fits=['team="payments"'],
    ),
    route("west", fits=['datacenter=~"us-.*"', 'team!="ops"']),
)


def test_the_first_that_fits_takes_it_and_continue_goes_on():
    assert told(TREE) == ["all"]
    assert told(TREE, severity="warning") == ["audit"]
    assert told(TREE, severity="critical", team="payments", datacenter="us-1") == ["audit", "payments-pager"]
    assert told(TREE, team="payments") == ["payments"]
    assert told(TREE, datacenter="us-1") == ["west"]
    assert told(TREE, datacenter="us-1", team="ops") == ["all"]


def test_one_receiver_is_told_once():
    tree = route("all", route("x", fits=['team="a"'], more=True, repeat_s=60), route("x", fits=['team=~"a|b"']))
    (leaf,) = chosen(tree, {"team": ("a",)})
    assert (leaf.receiver, leaf.repeat_s) == ("x", 60)


VALUES = ("", "a", "b")
NAMES = ("team", "zone")
one_matcher = st.builds(
    '{}{}"{}"'.format, st.sampled_from(NAMES), st.sampled_from(("=", "!=")), st.sampled_from(VALUES)
)
some_matchers = st.lists(one_matcher, max_size=2)


def branch(name, fits, more, below=()):
    return route(name, *below, fits=fits, more=more)


leaves = st.builds(branch, st.sampled_from("uvw"), some_matchers, st.booleans())
trees = st.recursive(
    leaves,
    lambda inner: st.builds(
        branch, st.sampled_from("uvw"), some_matchers, st.booleans(), st.lists(inner, max_size=3)
    ),
)


@given(trees, st.dictionaries(st.sampled_from(("team", "zone")), st.sampled_from(VALUES)))
def test_somebody_is_always_told_and_only_by_routes_that_fit(tree, labels):
    found = {name: (value,) for name, value in labels.items()}
    leaves = chosen(tree, found)
    assert leaves
    assert len({leaf.receiver for leaf in leaves}) == len(leaves)
    for leaf in leaves:
        assert leaf is tree or matches(leaf.matchers, found)
        assert not any(matches(inner.matchers, found) for inner in leaf.routes)


def test_a_mute_ends_in_its_own_zone():
    quiet = route("x", mute=(NIGHTS,))
    assert muted_until(quiet, NOON) is None
    assert muted_until(quiet, NOON.replace(hour=23)) == datetime(2026, 3, 5, 5, tzinfo=UTC)
    before_the_change = datetime(2026, 3, 28, 23, tzinfo=UTC)  # the clocks go forward in this night
    assert muted_until(quiet, before_the_change) == datetime(2026, 3, 29, 4, tzinfo=UTC)


def test_mutes_that_follow_each_other_are_one():
    evening = Window(open=(Opening(days=(2,), start=18 * 60, end=24 * 60),))
    thursday = Window(open=(Opening(days=(3,), start=0, end=8 * 60),))
    quiet = route("x", mute=(thursday, evening))
    assert muted_until(quiet, NOON.replace(hour=20)) == datetime(2026, 3, 5, 8, tzinfo=UTC)


openings = st.builds(
    Opening,
    days=st.lists(st.integers(0, 6), min_size=1, unique=True).map(tuple),
    start=st.integers(0, 1439),
    end=st.integers(1, 1440),
)
windows = st.builds(
    Window,
    zone=st.sampled_from(("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu")),
    open=st.lists(openings, min_size=1, max_size=2).map(tuple),
)


@given(st.lists(windows, max_size=2).map(tuple), st.integers(0, 525_600))
def test_a_mute_is_over_when_it_says_and_never_before(mute, minutes):
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    until = muted_until(route("x", mute=mute), at)
    muted = any(is_open(window, at) for window in mute)
    assert (until is not None) == muted
    if until is not None and until < at + timedelta(days=8):
        assert not any(is_open(window, until) for window in mute)
        assert any(is_open(window, until - timedelta(minutes=1)) for window in mute)


def test_the_first_word_waits_for_the_group_and_the_others_for_their_interval():
    leaf = route("x", group_wait_s=30, group_interval_s=300, mute=(NIGHTS,))
    assert not_before(leaf, NOON, first=True) == NOON + timedelta(seconds=30)
    assert not_before(leaf, NOON, first=False) == NOON + timedelta(seconds=300)
    late = datetime(2026, 3, 4, 20, 59, 45, tzinfo=UTC)  # the wait ends in the night
    assert not_before(leaf, late, first=True) == datetime(2026, 3, 5, 5, tzinfo=UTC)
