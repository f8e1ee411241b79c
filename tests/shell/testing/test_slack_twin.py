"""The Slack twin, asked through Slack's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from consulguard.clock import FakeClock
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


BUTTON = {"type": "button", "text": {"type": "plain_text", "text": "Go"}, "action_id": "a", "value": "v"}
PLAIN = {"type": "plain_text", "text": "x"}
OPTION = {"text": PLAIN, "value": "v"}


def long(size: int) -> dict[str, str]:
    return {"type": "plain_text", "text": "x" * size}


@pytest.mark.parametrize(
    "element",
    [
        BUTTON | {"value": "v" * 2001},
        BUTTON | {"text": long(76)},
        BUTTON | {"text": {"type": "mrkdwn", "text": "x"}},
        BUTTON | {"style": "purple"},
        BUTTON | {"confirm": {"title": long(101), "text": PLAIN}},
        BUTTON | {"confirm": {"title": PLAIN, "text": long(301)}},
        BUTTON | {"confirm": {"title": PLAIN, "text": PLAIN, "deny": long(31)}},
        BUTTON | {"confirm": "sure?"},
        {"type": "overflow", "action_id": "o", "options": []},
        {"type": "overflow", "action_id": "o", "options": [OPTION] * 6},
        {"type": "overflow", "action_id": "o", "options": [{"text": PLAIN}]},
        {"type": "overflow", "action_id": "o", "options": [OPTION | {"value": "v" * 151}]},
        {"type": "nope"},
    ],
)
async def test_elements_slack_would_refuse(client: AsyncWebClient, element: dict[str, Any]) -> None:
    blocks = [{"type": "actions", "elements": [element]}]
    with pytest.raises(SlackApiError, match="invalid_blocks"):
        await client.chat_postMessage(channel="#incidents", text="x", blocks=blocks)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"blocks": [{"type": "actions", "elements": [BUTTON] * 2}]}, "invalid_blocks"),
        (
            {"blocks": [{"type": "actions", "elements": [BUTTON | {"action_id": f"{n}"} for n in range(26)]}]},
            "invalid_blocks",
        ),
        ({"attachments": [{"color": "red", "text": "x"}]}, "invalid_attachments"),
        ({"attachments": [{"color": "good"}] * 101}, "too_many_attachments"),
        ({"attachments": [{"blocks": [{"type": "divider"}] * 26}] * 2}, "invalid_blocks"),
        ({"metadata": {"event_type": "x"}}, "invalid_metadata_format"),
        ({"blocks": "{"}, "invalid_arguments"),
    ],
)
async def test_messages_slack_would_refuse(client: AsyncWebClient, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(SlackApiError, match=error):
        await client.api_call("chat.postMessage", json={"channel": "#incidents", "text": "x", **arguments})


async def test_people_and_groups(slack: SlackTwin, client: AsyncWebClient) -> None:
    ada = slack.add_user("ada")
    gone = slack.add_user("gone", deleted=True)
    group = slack.add_usergroup("oncall", ada.id)
    assert (await client.users_info(user=gone.id))["user"]["deleted"] is True
    assert [g["id"] for g in (await client.usergroups_list())["usergroups"]] == [group.id]
    assert (await client.usergroups_users_list(usergroup=group.id))["users"] == [ada.id]
    channel = slack.channel("incidents").id
    assert (await client.conversations_members(channel=channel))["members"] == [ada.id, gone.id]
    await client.chat_postEphemeral(channel=channel, user=ada.id, text="only you")
    assert [(e.user, e.text) for e in slack.space.ephemerals] == [(ada.id, "only you")]
    with pytest.raises(SlackApiError, match="user_not_found"):
        await client.users_info(user="U404")
    with pytest.raises(SlackApiError, match="user_not_in_channel"):
        await client.chat_postEphemeral(channel=channel, user="U404", text="x")


async def test_a_file_goes_up_and_into_the_thread(slack: SlackTwin, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel="#incidents", text="x")
    await client.files_upload_v2(
        channel=posted["channel"], thread_ts=posted["ts"], content=b"PNG", filename="a.png", title="A"
    )
    [file] = slack.space.files.values()
    assert (file.body, file.title, file.done) == (b"PNG", "A", True)
    assert slack.thread(posted["ts"])[0].files == [file.id]


async def test_a_modal_is_opened_once_and_checked(slack: SlackTwin, client: AsyncWebClient) -> None:
    element = {"type": "plain_text_input", "action_id": "why", "multiline": True}
    asked = {"type": "input", "block_id": "why", "label": PLAIN, "element": element}
    view = {"type": "modal", "callback_id": "deny", "title": PLAIN, "submit": PLAIN, "blocks": [asked]}
    trigger = slack.space.trigger()
    for bad in ({"title": long(25)}, {"submit": None}, {"blocks": []}, {"private_metadata": "x" * 3001}):
        with pytest.raises(SlackApiError, match="invalid_arguments"):
            await client.views_open(trigger_id=trigger, view=view | bad)
    opened = await client.views_open(trigger_id=trigger, view=view)
    assert slack.space.views[0].id == opened["view"]["id"]
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await client.views_open(trigger_id=trigger, view=view)
    with pytest.raises(SlackApiError, match="invalid_trigger_id"):
        await client.views_open(trigger_id="1.2.3", view=view)


async def test_a_scope_that_is_missing_is_named(slack: SlackTwin, client: AsyncWebClient) -> None:
    slack.scopes = "chat:write"
    with pytest.raises(SlackApiError, match="missing_scope") as caught:
        await client.conversations_list()
    assert (caught.value.response["needed"], caught.value.response["provided"]) == ("channels:read", "chat:write")


async def test_it_is_no_faster_than_slack() -> None:
    clock = FakeClock()
    async with SlackTwin(limits=True, clock=clock, channels=("a", "b")) as slack:
        client = AsyncWebClient(token=slack.token, base_url=slack.api, retry_handlers=[])
        for _ in range(3):
            await client.chat_postMessage(channel="#a", text="x")
        with pytest.raises(SlackApiError) as caught:
            await client.chat_postMessage(channel="#a", text="x")
        assert caught.value.response.headers["Retry-After"] == "1"
        await client.chat_postMessage(channel="#b", text="x")
        clock.advance(1)
        await client.chat_postMessage(channel="#a", text="x")


async def test_a_call_may_be_done_though_its_answer_says_otherwise(slack: SlackTwin) -> None:
    client = AsyncWebClient(token=slack.token, base_url=slack.api, retry_handlers=[])
    slack.lose_answer(status=502)
    with pytest.raises(SlackApiError):
        await client.chat_postMessage(channel="#incidents", text="x")
    assert len(slack.messages) == 1
