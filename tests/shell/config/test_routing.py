"""What of receivers and routes is refused, and what becomes of the rest."""

import json

import pytest
from consulguard.config import load, settings
from consulguard.errors import ConfigError

BASE = {"receivers": {"pay": {"kind": "slack", "channel": "C1"}}, "route": {"receiver": "console"}}


def loaded(tmp_path, **more):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(BASE | more))
    return load(str(path), {}, {})


def route(tmp_path, **more):
    return settings.policy(loaded(tmp_path, **more)).route


def test_what_a_route_has_from_above(tmp_path):
    inner = {"receiver": "pay", "routes": [{"matchers": ['severity="critical"'], "repeat_interval": "0s"}]}
    tree = route(tmp_path, route={"receiver": "console", "repeat_interval": "4h", "routes": [inner]})
    (below,) = tree.routes
    (leaf,) = below.routes
    assert (tree.receiver, below.receiver, leaf.receiver) == ("console", "slack:pay", "slack:pay")
    assert (below.repeat_s, leaf.repeat_s) == (14_400, 0)


def test_what_alertmanager_forgets_is_refreshed(tmp_path):
    receivers = {"am": {"kind": "alertmanager", "url": "http://am:9093/", "refresh": "30s"}}
    tree = route(tmp_path, receivers=receivers, route={"receiver": "am", "repeat_interval": "4h"})
    assert (tree.receiver, tree.refresh_s) == ("alertmanager:am", 30)
    assert loaded(tmp_path, receivers=receivers).config.receivers["am"].url == "http://am:9093"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"route": {"receiver": "nobody"}}, "there is no 'nobody' in receivers"),
        ({"route": {"receiver": "slack"}}, "slack.enabled is off"),
        ({"route": {}}, "needs a receiver"),
        ({"route": {"receiver": "pay", "matchers": ['team="x"']}}, "the top takes everything"),
        ({"route": {"receiver": "pay", "continue": True}}, "the top takes everything"),
        ({"route": {"receiver": "pay", "routes": [{"matchers": ['teem="x"']}]}}, "did you mean team?"),
        ({"route": {"receiver": "pay", "routes": [{"matchers": ["team"]}]}}, "is not a matcher"),
        ({"route": {"receiver": "pay", "group_by": ["team"]}}, "unknown key 'group_by'"),
        ({"route": {"receiver": "pay", "routes": [{"mute_time_intervals": ["n"]}]}}, "in time_intervals"),
        ({"route": None}, "without a route"),
        ({"receivers": {"x": {"kind": "slack"}}}, "also needs channel"),
        ({"receivers": {"x": {"kind": "none", "channel": "C1"}}}, "has no channel"),
        ({"receivers": {"x": {"kind": "apprise", "url_file": "json://user:hush@h"}}}, "looks like an address"),
        ({"receivers": {"x": {"kind": "alertmanager", "url": "http://u:p@am"}}}, "must be http(s)"),
        ({"receivers": {"x": {"kind": "teams"}}}, "kind"),
        ({"time_intervals": {"n": {"times": []}}}, "times"),
        (
            {"time_intervals": {"n": {"zone": "Mars", "times": [{"start": "1:00", "end": "2:00"}]}}},
            "no time zone",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(tmp_path, more, says):
    with pytest.raises(ConfigError) as refused:
        route(tmp_path, **more)
    assert says in str(refused.value)
    assert "hush" not in str(refused.value)
