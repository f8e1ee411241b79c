"""What Slack sends when somebody types a command, presses a button or submits a form. Pure.

Source: Slack's reference of slash commands, of ``block_actions`` and of ``view_submission`` payloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consulguard.testing.slack_state import JsonDict, SlackMessage, SlackUser, SlackView, Workspace

TOKEN = "verification-token-nobody-should-use"


def command(space: Workspace, user: SlackUser, channel: str, text: str, response_url: str) -> JsonDict:
    """A slash command, as form fields and as the payload of Socket Mode alike."""
    return {
        "token": TOKEN,
        "team_id": user.team_id,
        "team_domain": "twin",
        "channel_id": channel,
        "channel_name": space.channels[channel].name,
        "user_id": user.id,
        "user_name": user.name,
        "command": "/consulguard",
        "text": text,
        "api_app_id": space.app,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": space.trigger(),
    }


def click(
    space: Workspace, user: SlackUser, message: SlackMessage, action: JsonDict, response_url: str
) -> JsonDict:
    """``action`` is one of ``actions(message)``."""
    return {
        "type": "block_actions",
        **_who(space, user),
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": False,
        },
        "channel": {"id": message.channel, "name": space.channels[message.channel].name},
        "message": {"type": "message", "ts": message.ts, "text": message.text, "bot_id": space.bot},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [action],
    }


def submission(space: Workspace, user: SlackUser, opened: SlackView, entered: Mapping[str, str]) -> JsonDict:
    """``entered``: block id -> what was written or chosen. What was not touched has its initial value."""
    values: JsonDict = {}
    for block in opened.view["blocks"]:
        if block.get("type") == "input":
            element = block["element"]
            given = entered.get(block["block_id"])
            values[block["block_id"]] = {element["action_id"]: _entered(element, given)}
    view = opened.view | {"id": opened.id, "team_id": space.team, "app_id": space.app, "state": {"values": values}}
    return {"type": "view_submission", **_who(space, user), "view": view, "response_urls": []}


def actions(message: SlackMessage) -> Iterator[tuple[str, JsonDict]]:
    """What can be pressed under a message: what is written on it, and the action Slack sends."""
    lists = [message.blocks, *(a.get("blocks") or [] for a in message.attachments)]
    for block in (block for blocks in lists for block in blocks):
        elements = block.get("elements", []) if block.get("type") == "actions" else [block.get("accessory") or {}]
        for element in elements:
            common = {"block_id": block.get("block_id", "b1"), "action_id": element.get("action_id", "")}
            if element.get("type") == "button":
                pressed = {"type": "button", "text": element["text"], "value": element.get("value", "")}
                yield element["text"]["text"], common | pressed | {"action_ts": "1.1"}
            for option in element.get("options", []) if element.get("type") == "overflow" else []:
                chosen = {"text": option["text"], "value": option.get("value", "")}
                yield (
                    option["text"]["text"],
                    common | {"type": "overflow", "selected_option": chosen, "action_ts": "1.1"},
                )


def _who(space: Workspace, user: SlackUser) -> JsonDict:
    return {
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id},
        "api_app_id": space.app,
        "token": TOKEN,
        "team": {"id": space.team, "domain": "twin"},
        "trigger_id": space.trigger(),
    }


def _entered(element: JsonDict, given: str | None) -> dict[str, Any]:
    if element["type"] == "plain_text_input":
        return {"type": element["type"], "value": given}
    options = {option["value"]: option for option in element["options"]}
    chosen = options[given] if given is not None else element.get("initial_option")
    return {"type": element["type"], "selected_option": chosen}
