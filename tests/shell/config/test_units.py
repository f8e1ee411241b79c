"""Units of a configuration: each one's view, and what is refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from consulguard.config import Loaded, load, settings, units
from consulguard.config import coordinate as given
from consulguard.errors import ConfigError

TWO = [{"datacenter": "dc1"}, {"datacenter": "dc2"}]
SHARED = {"backend": "consul", "units": TWO}
OWN = {"app_id": "A1", "app_token_file": "app1", "bot_token_file": "bot1"}
OTHER = {"app_id": "A2", "app_token_file": "app2", "bot_token_file": "bot2"}


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("dsn", "app", "bot", "app1", "bot1", "app2", "bot2"):
            (folder / name).write_text("word\n")
            (folder / name).chmod(0o600)

    def load(self, coordinate: dict[str, Any], **sections: Any) -> Loaded:
        base = {
            "journal": {"store": "postgresql", "dsn_file": "dsn", "path": "state/journal.sqlite"},
            "server": {"listen": "127.0.0.1:9415"},
            "coordinate": coordinate,
        }
        (self.folder / "c.yaml").write_text(json.dumps(base | sections))
        return load(str(self.folder / "c.yaml"), None, {"HOME": "/nowhere"})


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_without_units_all_is_as_it_was(house: House) -> None:
    loaded = house.load({"backend": "consul"})
    assert units.views(loaded) == (loaded,)
    assert units.chosen(loaded) is loaded
    assert units.schema(loaded) == "consulguard"


def test_each_unit_has_names_of_its_own(house: House) -> None:
    parts = [*TWO, {"datacenter": "dc1", "partition": "web"}, {"datacenter": "dc3", "partition": "default"}]
    found = units.views(house.load({**SHARED, "units": parts}))
    assert [(v.config.consul.datacenter, v.config.consul.partition) for v in found] == [
        ("dc1", ""),
        ("dc2", ""),
        ("dc1", "web"),
        ("dc3", ""),
    ]
    for own in (given_key, units_schema, settings.socket_path, settings.journal_path):
        assert len({str(own(view)) for view in found}) == len(parts), own
    assert given_key(found[0]) == "consulguard/leader-dc1"
    assert units_schema(found[2]) == "consulguard_dc1-web"
    assert settings.policy(found[1]).datacenter == "dc2"
    assert not any(view.config.server.listen for view in found)
    assert all(units.whole(view).config.coordinate.key == "consulguard/leader" for view in found)


def given_key(view: Loaded) -> str:
    return given.lease(view).key


def units_schema(view: Loaded) -> str:
    return units.schema(view)


def test_one_unit_goes_on_with_what_was_there(house: House) -> None:
    parts = [{"datacenter": "dc1", "continues": True}, {"datacenter": "dc2"}]
    loaded = house.load({**SHARED, "units": parts})
    first, second = units.views(loaded)
    assert given_key(first) == given_key(loaded) != given_key(second)
    assert units_schema(first) == "consulguard" != units_schema(second)
    assert settings.socket_path(first) == settings.socket_path(loaded) != settings.socket_path(second)


def test_an_agent_of_a_units_own(house: House) -> None:
    parts = [{"datacenter": "dc1"}, {"datacenter": "dc2", "http_addr": "10.0.0.2:8500"}]
    first, second = units.views(house.load({**SHARED, "units": parts}))
    assert first.config.consul.http_addr == ["http://127.0.0.1:8500"]
    assert second.config.consul.http_addr == ["http://10.0.0.2:8500"]


def test_which_one_is_meant(house: House) -> None:
    parts = [*TWO, {"datacenter": "dc2", "partition": "web"}]
    loaded = house.load({**SHARED, "units": parts})
    assert units.chosen(loaded, "dc1").unit == units.unit_of(loaded.config.coordinate.units[0])
    assert units.chosen(loaded, "dc2", "web").config.consul.partition == "web"
    assert units.chosen(loaded, "dc2", "default").config.consul.partition == ""
    one = house.load({**SHARED, "units": TWO[:1]})
    assert units.chosen(one).config.consul.datacenter == "dc1"
    for named in ((), ("dc2",), ("dc9",)):
        with pytest.raises(ConfigError, match="--datacenter dc2 --partition web"):
            units.chosen(loaded, *named)


@pytest.mark.parametrize(
    ("coordinate", "sections", "said"),
    [
        ({"units": TWO}, {}, "set it to consul, zookeeper or kubernetes"),
        (SHARED, {"journal": {"path": "j"}}, "set journal.store: postgresql"),
        ({**SHARED, "units": [TWO[0], TWO[0]]}, {}, "dc1 is named twice"),
        ({**SHARED, "units": [TWO[0], {"datacenter": "dc1", "partition": "default"}]}, {}, "named twice"),
        ({**SHARED, "units": [{"datacenter": "a_b"}, {"datacenter": "a-b"}]}, {}, "differ in - and _ alone"),
        (
            {**SHARED, "units": [{"datacenter": "a-b"}, {"datacenter": "a", "partition": "b"}]},
            {},
            "their journals would be one",
        ),
        ({**SHARED, "units": [{**unit, "continues": True} for unit in TWO]}, {}, "at most one unit"),
    ],
)
def test_what_is_refused(house: House, coordinate: Any, sections: Any, said: str) -> None:
    loaded = house.load(coordinate, **sections)
    with pytest.raises(ConfigError, match=said):
        units.views(loaded)


class TestSlack:
    """What somebody says goes to one connection of an app: it must be the right unit's."""

    def told(self, house: House, first: Any, second: Any, **slack: Any) -> tuple[Loaded, ...]:
        parts = [{**TWO[0], "slack": first}, {**TWO[1], "slack": second}]
        given = {"enabled": True, "channel": "C1", "bot_token_file": "bot", **slack}
        return units.views(house.load({**SHARED, "units": parts}, slack=given))

    def test_telling_alone_needs_nothing(self, house: House) -> None:
        first, second = self.told(house, {}, {"channel": "C2"})
        assert (first.config.slack.channel, second.config.slack.channel) == ("C1", "C2")

    def test_an_app_for_each(self, house: House) -> None:
        first, second = self.told(house, OWN, OTHER)
        assert (first.config.slack.app_id, second.config.slack.app_id) == ("A1", "A2")

    @pytest.mark.parametrize("second", [{}, {**OTHER, "app_token_file": "app1"}, {**OTHER, "app_id": "A1"}])
    def test_one_app_for_two(self, house: House, second: dict[str, str]) -> None:
        with pytest.raises(ConfigError, match=r"coordinate.units a slack.app_id"):
            self.told(house, OWN, second, app_id="A1", app_token_file="app1")

    def test_slacks_requests_by_http(self, house: House) -> None:
        (house.folder / "secret").write_text("word\n")
        (house.folder / "secret").chmod(0o600)
        by_http = {"listen": "127.0.0.1:9416", "app_id": "A1", "signing_secret_file": "secret"}
        with pytest.raises(ConfigError, match="Socket Mode with an app for each unit"):
            self.told(house, {}, {}, **by_http)
