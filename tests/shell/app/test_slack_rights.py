"""``consulguard check``, the manifest and the docs name the same scopes as the code uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from consulguard.app.slack_rights import SCOPES, slack_rights
from consulguard.config import Loaded, load
from consulguard.testing import SlackPeople, SlackTwin
from consulguard.testing.slack_methods import METHODS
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((ROOT / "docs/slack-app-manifest.yaml").read_text())
    return found


def test_the_manifest_asks_for_what_is_used_and_no_more() -> None:
    scopes = manifest()["oauth_config"]["scopes"]["bot"]
    assert sorted(scopes) == sorted(SCOPES)
    source = "\n".join(
        path.read_text()
        for room in ("app", "notify", "serve")
        for path in (ROOT / "consulguard" / room).rglob("*.py")
    )
    needed = {scope for method, (_, scope) in METHODS.items() if scope and f'"{method}"' in source}
    assert {"chat:write", "users:read", "usergroups:read", "files:write"} <= needed <= set(SCOPES)


def test_the_manifest_opens_what_we_listen_to() -> None:
    found = manifest()
    assert [c["command"] for c in found["features"]["slash_commands"]] == ["/consulguard"]
    assert found["settings"]["socket_mode_enabled"] is True
    assert found["settings"]["interactivity"]["is_enabled"] is True


def test_every_scope_is_explained() -> None:
    text = (ROOT / "docs/slack.md").read_text()
    assert [scope for scope in SCOPES if f"`{scope}`" not in text] == []


def configured(folder: Path, slack: SlackTwin, **more: Any) -> Loaded:
    section = {"enabled": True, "channel": "#incidents", "api_url": slack.api, "app_id": "A0TWIN"} | more
    access = {"slack_teams": ["T0TWIN"], "viewer": {"slack_users": ["U1"]}}
    path = folder / "consulguard.yaml"
    path.write_text(json.dumps({"slack": section, "access": access}))
    return load(str(path), {}, {"SLACK_BOT_TOKEN": slack.token, "SLACK_APP_TOKEN": "xapp-twin"})


async def wrong(loaded: Loaded) -> str:
    return "\n".join(f.text for f in await slack_rights(loaded, 10.0) if not f.ok)


@pytest.fixture
async def slack() -> Any:
    twin = SlackTwin()
    SlackPeople(twin)
    twin.scopes += ",commands"
    async with twin:
        yield twin


async def test_all_is_well(slack: SlackTwin, tmp_path: Path) -> None:
    assert await wrong(configured(tmp_path, slack)) == ""
    assert await wrong(configured(tmp_path, slack, channel=slack.channel("incidents").id)) == ""


async def test_a_missing_scope_is_named(slack: SlackTwin, tmp_path: Path) -> None:
    slack.scopes = slack.scopes.replace("users:read", "")
    assert "scope users:read is missing" in await wrong(configured(tmp_path, slack))


async def test_a_missing_membership_is_named(slack: SlackTwin, tmp_path: Path) -> None:
    slack.channel("incidents").is_member = False
    assert "/invite" in await wrong(configured(tmp_path, slack))
    assert "no channel #other" in await wrong(configured(tmp_path, slack, channel="#other"))


async def test_a_wrong_token_is_named(slack: SlackTwin, tmp_path: Path) -> None:
    loaded = configured(tmp_path, slack)
    slack.token = "xoxb-other"
    assert "bot token" in await wrong(loaded)
