"""The Slack twin, asked through Slack's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from consulguard.testing import SlackTwin
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient


@pytest.fixture
async def slack() -> AsyncIterator[SlackTwin]:
    async with SlackTwin() as twin:
        yield twin


@pytest.fixture
def client(slack: SlackTwin) -> AsyncWebClient:
    return AsyncWebClient(token=slack.token, base_url=slack.api)


def header(text: str = "x") -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text}}


def section(text: str = "x") -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


async def test_a_message_its_thread_and_its_edit(slack: SlackTwin, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel="#incidents", text="down", blocks=[header("down")])
    await client.chat_postMessage(channel=posted["channel"], thread_ts=posted["ts"], text="step 1")
    await client.chat_update(channel=posted["channel"], ts=posted["ts"], text="up")
    (parent,) = slack.parents()
    assert (parent.text, parent.edits) == ("up", 1)
    assert [m.text for m in slack.thread(posted["ts"])] == ["step 1"]


async def test_who_am_i_and_where(slack: SlackTwin, client: AsyncWebClient) -> None:
    assert (await client.auth_test())["bot_id"]
    found = await client.conversations_info(channel=slack.channel("incidents").id)
    assert found["channel"]["is_member"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"channel": "C404", "text": "x"}, "channel_not_found"),
        ({"channel": "#incidents"}, "no_text"),
        ({"channel": "#incidents", "text": "x" * 40_001}, "msg_too_long"),
        ({"channel": "#incidents", "text": "x", "blocks": [section()] * 51}, "invalid_blocks"),
        ({"channel": "#incidents", "text": "x", "blocks": [{"type": "nope"}]}, "invalid_blocks"),
        ({"channel": "#incidents", "text": "x", "blocks": [header("x" * 151)]}, "invalid_blocks"),
        ({"channel": "#incidents", "text": "x", "blocks": [section("x" * 3001)]}, "invalid_blocks"),
        ({"channel": "#incidents", "text": "x", "blocks": [section("")]}, "invalid_blocks"),
        ({"channel": "#incidents", "text": "x", "blocks": [section("x" * 2999)] * 5}, "msg_blocks_too_long"),
        (
            {
                "channel": "#incidents",
                "text": "x",
                "attachments": [{"color": "#a30200", "blocks": [header("x" * 151)]}],
            },
            "invalid_blocks",
        ),
        ({"channel": "#incidents", "text": "x", "thread_ts": "1.1"}, "thread_not_found"),
    ],
)
async def test_what_slack_would_refuse(client: AsyncWebClient, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.api_call("chat.postMessage", json=arguments)
    assert caught.value.response["error"] == error


@pytest.mark.parametrize(
    "block",
    [
        header("x" * 150),
        section("x" * 3000),
        {"type": "divider"},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 10},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}]},
        {
            "type": "actions",
            "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Go"}, "action_id": "a"}],
        },
    ],
)
async def test_what_fits_is_taken(slack: SlackTwin, client: AsyncWebClient, block: dict[str, Any]) -> None:
    await client.chat_postMessage(channel="#incidents", text="x", blocks=[block] * 2)
    assert slack.messages[0].blocks == [block] * 2


async def test_faults_come_in_turn(slack: SlackTwin, client: AsyncWebClient) -> None:
    slack.rate_limit(retry_after_s=7)
    slack.fail("fatal_error")
    with pytest.raises(SlackApiError) as limited:
        await client.auth_test()
    assert (limited.value.response.status_code, limited.value.response.headers["Retry-After"]) == (429, "7")
    with pytest.raises(SlackApiError, match="fatal_error"):
        await client.auth_test()
    assert (await client.auth_test())["ok"]


async def test_a_lost_answer_is_a_message_all_the_same(slack: SlackTwin) -> None:
    client = AsyncWebClient(token=slack.token, base_url=slack.api, retry_handlers=[])
    slack.lose_answer()
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="#incidents", text="x")
    assert [m.text for m in slack.messages] == ["x"]


async def test_another_token_is_nobody(slack: SlackTwin) -> None:
    with pytest.raises(SlackApiError, match="invalid_auth"):
        await AsyncWebClient(token="xoxb-other", base_url=slack.api).auth_test()
