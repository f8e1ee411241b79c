"""What the Slack twin and an emulator that others wrote agree on, through Slack's own client.

The emulator checks no blocks and takes reads by POST only, so these tests call them so; what it does not know
stands in docs/slack-messages.md.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest
from consulguard.model import OutboxRow
from consulguard.notify import Told
from consulguard.notify.slack import SlackNotifier, SlackSettings
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.support.messages import incident, message
from tests.support.slack import TOKEN, Workspace

HEADER = {"type": "header", "text": {"type": "plain_text", "text": "down"}}


async def read(space: Workspace, method: str, **arguments: Any) -> Any:
    return (await space.client.api_call(method, data=arguments)).data


async def history(space: Workspace, count: int) -> list[dict[str, Any]]:
    answer = await read(space, "conversations.history", channel=space.channel, limit=count)
    return list(answer["messages"])


async def test_it_says_who_we_are(workspace: Workspace) -> None:
    answer = await workspace.client.auth_test()
    for name in ("url", "team", "team_id", "user", "user_id"):
        assert isinstance(answer[name], str)
        assert answer[name]


async def test_a_message_is_posted_and_edited_in_place(workspace: Workspace) -> None:
    posted = await workspace.client.chat_postMessage(channel=workspace.channel, text="down", blocks=[HEADER])
    assert (posted["channel"], posted["message"]["text"]) == (workspace.channel, "down")
    await workspace.client.chat_update(channel=workspace.channel, ts=posted["ts"], text="up", blocks=[HEADER])
    [newest] = await history(workspace, 1)
    assert (newest["ts"], newest["text"], newest["blocks"]) == (posted["ts"], "up", [HEADER])


async def test_the_newest_comes_first_and_replies_stay_in_their_thread(workspace: Workspace) -> None:
    one, two = [await workspace.client.chat_postMessage(channel=workspace.channel, text=t) for t in "ab"]
    for text in ("x", "y"):
        await workspace.client.chat_postMessage(channel=workspace.channel, thread_ts=one["ts"], text=text)
    assert [m["ts"] for m in await history(workspace, 2)] == [two["ts"], one["ts"]]
    thread = await read(workspace, "conversations.replies", channel=workspace.channel, ts=one["ts"])
    assert [m["text"] for m in thread["messages"]] == ["a", "x", "y"]
    assert {m.get("thread_ts", one["ts"]) for m in thread["messages"]} == {one["ts"]}


async def test_a_message_can_be_taken_back(workspace: Workspace) -> None:
    posted = await workspace.client.chat_postMessage(channel=workspace.channel, text="gone")
    await read(workspace, "chat.delete", channel=workspace.channel, ts=posted["ts"])
    assert posted["ts"] not in [m["ts"] for m in await history(workspace, 5)]
    with pytest.raises(SlackApiError, match="message_not_found"):
        await workspace.client.chat_update(channel=workspace.channel, ts=posted["ts"], text="x")


async def test_every_message_has_a_link(workspace: Workspace) -> None:
    posted = await workspace.client.chat_postMessage(channel=workspace.channel, text="x")
    link = await read(workspace, "chat.getPermalink", channel=workspace.channel, message_ts=posted["ts"])
    assert f"/archives/{workspace.channel}/p{posted['ts'].replace('.', '')}" in link["permalink"]


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.postMessage", {"channel": "C404", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "incidents"}, "no_text"),
        ("chat.update", {"channel": "incidents", "ts": "1.1", "text": "x"}, "message_not_found"),
        ("conversations.info", {"channel": "C404"}, "channel_not_found"),
        ("conversations.history", {"channel": "C404"}, "channel_not_found"),
        ("users.info", {"user": "U404"}, "user_not_found"),
    ],
)
async def test_what_is_not_there_is_named(
    workspace: Workspace, method: str, arguments: dict[str, str], error: str
) -> None:
    given = arguments | {"channel": workspace.channels.get(arguments.get("channel", ""), "C404")}
    with pytest.raises(SlackApiError) as caught:
        await workspace.client.api_call(method, data=given)
    assert caught.value.response["error"] == error


async def test_json_is_taken_as_a_form_is(workspace: Workspace) -> None:
    for given in (
        {"data": {"channel": workspace.channel, "text": "a & b"}},
        {"json": {"channel": workspace.channel, "text": "a & b"}},
    ):
        await workspace.client.api_call("chat.postMessage", **given)
    assert [m["text"] for m in await history(workspace, 2)] == ["a & b"] * 2


async def test_channels_are_listed_and_described(workspace: Workspace) -> None:
    assert {"incidents", "random"} <= workspace.channels.keys()
    told = await read(workspace, "conversations.info", channel=workspace.channel)
    assert (told["channel"]["id"], told["channel"]["name"]) == (workspace.channel, "incidents")
    assert (told["channel"]["is_archived"], told["channel"]["is_private"]) == (False, False)


async def test_people_are_described(workspace: Workspace) -> None:
    told = (await read(workspace, "users.info", user=workspace.people["alice"]))["user"]
    assert (told["name"], told["deleted"], told["is_bot"]) == ("alice", False, False)
    assert isinstance(told["team_id"], str)


async def test_who_is_in_a_channel(workspace: Workspace) -> None:
    told = await read(workspace, "conversations.members", channel=workspace.channel)
    assert set(told["members"]) <= set(workspace.people.values()) | {
        (await workspace.client.auth_test())["user_id"]
    }


async def test_one_person_alone_can_be_told(workspace: Workspace) -> None:
    before = await history(workspace, 1)
    told = await workspace.client.chat_postEphemeral(
        channel=workspace.channel, user=workspace.people["alice"], text="only you"
    )
    assert told["message_ts"]
    assert await history(workspace, 1) == before


async def test_a_file_is_sent_in_three_steps(workspace: Workspace) -> None:
    body = b"\x89PNG picture"
    asked = await read(workspace, "files.getUploadURLExternal", filename="mesh.png", length=len(body))
    async with aiohttp.ClientSession() as session, session.post(asked["upload_url"], data=body) as answer:
        assert answer.status == 200
    done = await workspace.client.api_call(
        "files.completeUploadExternal",
        json={"files": [{"id": asked["file_id"], "title": "Mesh"}], "channel_id": workspace.channel},
    )
    assert [(file["id"], file["title"]) for file in done["files"]] == [(asked["file_id"], "Mesh")]


async def test_a_method_that_does_not_exist_is_refused(workspace: Workspace) -> None:
    with pytest.raises(SlackApiError):
        await workspace.client.api_call("chat.dance")


async def test_no_token_is_refused(workspace: Workspace) -> None:
    with pytest.raises(SlackApiError, match="not_authed"):
        await AsyncWebClient(base_url=workspace.client.base_url).api_call("auth.test")


async def test_what_a_message_carries_comes_back(workspace: Workspace) -> None:
    carried = {"event_type": "consulguard_message", "event_payload": {"nonce": "n-1", "lines": 2}}
    await workspace.client.chat_postMessage(channel=workspace.channel, text="x", metadata=carried)
    told = await read(
        workspace, "conversations.history", channel=workspace.channel, limit=1, include_all_metadata="true"
    )
    assert told["messages"][0]["metadata"] == carried


async def test_a_later_process_finds_the_message_of_an_earlier_one(workspace: Workspace) -> None:
    shown = msgspec.structs.replace(message("INC-7"), incident=incident())
    row = OutboxRow(channel="slack", key="INC-7", rev=1, message=shown)
    found = []
    for _ in range(3):
        settings = SlackSettings(channel=workspace.channels["random"], base_url=str(workspace.client.base_url))
        notifier = SlackNotifier(settings, lambda: TOKEN)
        found.append((await notifier.deliver(row)).ref["ts"])
        await notifier.close()
    assert len(set(found)) == 1


async def test_our_notifier_posts_edits_and_answers_in_the_thread(workspace: Workspace) -> None:
    """The whole way of one incident, and a thread read back."""
    settings = SlackSettings(channel=workspace.channel, base_url=str(workspace.client.base_url))
    notifier = SlackNotifier(settings, lambda: TOKEN)
    row = OutboxRow(channel="slack", key="k", rev=1, message=message("k", 1))
    first = await notifier.deliver(row)
    later = OutboxRow(
        channel="slack", key="k", rev=2, message=message("k", 2, thread=("one", "two")), ref=first.ref
    )
    second = await notifier.deliver(later)
    third = await notifier.deliver(
        OutboxRow(channel="slack", key="k", rev=2, message=later.message, ref=second.ref)
    )
    assert isinstance(third, Told)
    assert third.done
    await notifier.close()
    thread = await read(workspace, "conversations.replies", channel=workspace.channel, ts=first.ref["ts"])
    parent, reply = thread["messages"]
    assert (parent["text"], reply["text"]) == ("[CRITICAL] k v2", "two")
    assert reply["blocks"][0]["text"]["text"] == "one\ntwo"
