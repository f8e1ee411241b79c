"""The Slack notifier against a stub: posted once, edited in place, its thread in order, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.model import JsonObject, OutboxRow
from consulguard.notify import Told
from consulguard.notify.slack import SlackNotifier, SlackSettings
from consulguard.testing import SlackTwin

from tests.support.messages import incident, message


@pytest.fixture
async def slack() -> AsyncIterator[SlackTwin]:
    async with SlackTwin(token="xoxb-1", channels=("ops",)) as twin:
        yield twin


@pytest.fixture
async def notifier(slack: SlackTwin) -> AsyncIterator[SlackNotifier]:
    made = SlackNotifier(SlackSettings(channel="#ops", base_url=slack.api, timeout_s=0.5), lambda: "xoxb-1")
    yield made
    await made.close()


def row(version: int = 1, ref: JsonObject | None = None, thread: tuple[str, ...] = ()) -> OutboxRow:
    return OutboxRow(
        channel="slack", key="k", rev=version, message=message("k", version, thread=thread), ref=ref or {}
    )


async def told(notifier: SlackNotifier, what: OutboxRow) -> Told:
    answer = await notifier.deliver(what)
    assert isinstance(answer, Told)
    return answer


async def test_posted_then_edited_then_answered_in_the_thread(slack: SlackTwin, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1, thread=("step one", "step two")))
    assert (first.lines, first.done) == (0, False)
    second = await told(notifier, row(1, first.ref, ("step one", "step two")))
    assert (second.lines, second.done) == (2, True)
    third = await told(notifier, row(2, second.ref))
    assert (third.lines, third.done) == (0, True)
    assert [method for method, _ in slack.calls] == ["chat.postMessage", "chat.postMessage", "chat.update"]
    [post] = slack.parents()
    assert (post.text, post.edits) == ("[CRITICAL] k v2", 1)
    [reply] = slack.thread(post.ts)
    assert reply.blocks[0]["text"]["text"] == "step one\nstep two"
    assert first.ref["ts"] == third.ref["ts"] == post.ts
    assert slack.calls[0][1]["channel"] == "#ops"
    assert slack.calls[2][1]["channel"] == slack.channel("ops").id  # an edit needs the id, not the name


async def test_nothing_new_is_no_call(slack: SlackTwin, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1))
    assert (await told(notifier, row(1, first.ref))).done
    assert len(slack.calls) == 1


async def test_the_token_is_read_again_for_each_call(slack: SlackTwin) -> None:
    token = "xoxb-1"
    notifier = SlackNotifier(SlackSettings(channel="#ops", base_url=slack.api), lambda: token)
    first = await told(notifier, row(1))
    slack.token = token = "xoxb-2"
    await told(notifier, row(2, first.ref))
    await notifier.close()
    assert slack.parents()[0].edits == 1


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long", "invalid_attachments"])
async def test_refused_blocks_become_one_plain_line(slack: SlackTwin, notifier: SlackNotifier, error: str) -> None:
    slack.fail(error)
    first = await told(notifier, row(1))
    [post] = slack.parents()
    assert (post.text, post.attachments, post.blocks) == ("[CRITICAL] k v1", [], [])
    slack.fail(error)
    second = await told(notifier, row(2, first.ref, ("step",)))
    slack.fail(error)
    await told(notifier, row(2, second.ref, ("step",)))
    assert (post.text, post.attachments, post.blocks) == ("[CRITICAL] k v2", [], [])
    [reply] = slack.thread(post.ts)
    assert (reply.text, reply.blocks) == ("step", [])


async def test_too_many_requests_names_the_wait(slack: SlackTwin, notifier: SlackNotifier) -> None:
    slack.rate_limit(2)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(1))
    assert (caught.value.retry_after_s, caught.value.for_all, caught.value.ref) == (2.0, True, None)


@pytest.mark.parametrize("trouble", [500, 503, "internal_error", "fatal_error"])
async def test_slack_in_trouble_is_temporary(
    slack: SlackTwin, notifier: SlackNotifier, trouble: str | int
) -> None:
    if isinstance(trouble, int):
        slack.http_error(trouble)
    else:
        slack.fail(trouble)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(1))
    assert set(caught.value.ref or {}) == {"nonce"}  # nothing to wait for, and something to look for
    assert slack.messages == []


@pytest.mark.parametrize("error", ["invalid_auth", "channel_not_found", "missing_scope"])
async def test_what_a_person_can_mend_waits_for_the_person(
    slack: SlackTwin, notifier: SlackNotifier, error: str
) -> None:
    slack.fail(error)
    with pytest.raises(NotifyUnavailable, match=error) as caught:
        await notifier.deliver(row(1))
    assert caught.value.retry_after_s >= 60


async def test_anything_else_is_final(slack: SlackTwin, notifier: SlackNotifier) -> None:
    slack.fail("as_user_not_supported")
    with pytest.raises(NotifyRefused, match="as_user_not_supported"):
        await notifier.deliver(row(1))


async def test_a_slack_that_is_not_there_is_certainly_not_told(notifier: SlackNotifier, slack: SlackTwin) -> None:
    await slack.stop()
    with pytest.raises(NotifyUnavailable, match="cannot be reached") as caught:
        await notifier.deliver(row(1))
    assert caught.value.ref is None


def as_known(caught: pytest.ExceptionInfo[NotifyUnavailable]) -> JsonObject:
    """The reference the row has after a failure."""
    assert caught.value.ref is not None
    return dict(caught.value.ref)


async def test_a_lost_answer_makes_one_duplicate_at_most(slack: SlackTwin, notifier: SlackNotifier) -> None:
    slack.scopes = "chat:write"  # nothing can be looked up
    slack.lose_answer(2)
    with pytest.raises(NotifyUnavailable, match="lost") as caught:
        await notifier.deliver(row(1))
    ref = as_known(caught)
    assert (ref["unsure"], caught.value.retry_after_s) == (1, 0.0)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(1, ref))
    assert as_known(caught) == ref | {"unsure": 2}
    assert caught.value.retry_after_s >= 300
    assert not caught.value.for_all  # other messages need not wait
    assert len(slack.parents()) == 2


@pytest.mark.parametrize("status", [0, 500, 502])
@pytest.mark.parametrize("channel", ["#ops", "C00001"])
async def test_a_message_whose_answer_was_lost_is_found_again(slack: SlackTwin, status: int, channel: str) -> None:
    notifier = SlackNotifier(SlackSettings(channel=channel, base_url=slack.api), lambda: "xoxb-1")
    slack.lose_answer(status=status)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(1))
    found = await told(notifier, row(2, as_known(caught), ("step",)))
    assert (found.done, found.lines) == (False, 0)
    edited = await told(notifier, row(2, found.ref, ("step",)))
    slack.lose_answer(status=status)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(2, edited.ref, ("step",)))
    last = await told(notifier, row(2, as_known(caught), ("step", "another")))
    assert (last.lines, last.done) == (1, False)  # what was added meanwhile is still to be told
    last = await told(notifier, row(2, last.ref, ("another",)))
    assert (last.done, set(last.ref)) == (True, {"channel", "ts", "rev"})
    [post] = slack.parents()
    assert [post.text, *(reply.text for reply in slack.thread(post.ts))] == ["[CRITICAL] k v2", "step", "another"]
    await notifier.close()


async def test_however_often_answers_are_lost_nothing_is_told_twice(
    slack: SlackTwin, notifier: SlackNotifier
) -> None:
    ref: JsonObject = {}
    for status in (0, 502, 0):
        slack.http_error(503)
        with pytest.raises(NotifyUnavailable) as caught:  # not even the look is answered
            await notifier.deliver(row(1, ref))
        ref = dict(caught.value.ref or ref)
        slack.lose_answer(status=status, count=2)
        with pytest.raises(NotifyUnavailable) as caught:
            await notifier.deliver(row(1, ref))
        ref = dict(caught.value.ref or ref)
        slack.heal()
    assert (await told(notifier, row(1, ref))).ref["ts"] == slack.parents()[0].ts
    assert len(slack.messages) == 1


async def test_what_a_process_posted_before_it_died_is_taken_over(slack: SlackTwin) -> None:
    """Killed between the post and its record: the next process finds the message by its incident."""
    shown = msgspec.structs.replace(message("INC-7"), incident=incident())
    waiting = OutboxRow(channel="slack", key="INC-7", rev=1, message=shown)
    for life in range(3):
        notifier = SlackNotifier(SlackSettings(channel="#ops", base_url=slack.api), lambda: "xoxb-1")
        first = await told(notifier, waiting)
        if life:
            await told(notifier, msgspec.structs.replace(waiting, ref=first.ref))
        other = msgspec.structs.replace(shown, incident=msgspec.structs.replace(incident(), id=f"INC-{life}"))
        await told(notifier, OutboxRow(channel="slack", key=f"INC-{life}", rev=1, message=other))
        await notifier.close()
    assert [post.metadata["event_payload"]["incident"] for post in slack.parents()] == [
        "INC-7",
        "INC-0",
        "INC-1",
        "INC-2",
    ]
    assert slack.parents()[0].edits == 2


@pytest.mark.parametrize("body", ["<html>a proxy's page</html>", "[]", "{", ""])
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
async def test_an_answer_nobody_can_read_is_a_lost_one(body: str, kind: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type=kind)

    app = web.Application()
    app.router.add_post("/api/chat.postMessage", answer)
    async with TestServer(app) as server:
        notifier = SlackNotifier(SlackSettings(channel="C1", base_url=str(server.make_url("/api/"))), lambda: "t")
        with pytest.raises(NotifyUnavailable) as caught:
            await notifier.deliver(row(1))
        assert as_known(caught)["unsure"] == 1
        await notifier.close()


async def test_an_answer_that_comes_too_late_is_a_lost_one() -> None:
    released = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await released.wait()
        return web.json_response({"ok": True, "channel": "C1", "ts": "1.0"})

    app = web.Application()
    app.router.add_post("/api/chat.postMessage", answer)
    async with TestServer(app) as server:
        settings = SlackSettings(channel="C1", base_url=str(server.make_url("/api/")), timeout_s=0.1)
        notifier = SlackNotifier(settings, lambda: "t")
        with pytest.raises(NotifyUnavailable, match="lost") as caught:
            await notifier.deliver(row(1))
        assert as_known(caught)["unsure"] == 1
        released.set()
        await notifier.close()


async def test_a_lost_edit_is_simply_made_again(slack: SlackTwin, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1))
    slack.lose_answer()
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(2, first.ref))
    assert caught.value.ref is None
    await told(notifier, row(2, first.ref))
    assert [post.text for post in slack.parents()] == ["[CRITICAL] k v2"]


async def test_a_lost_reply_is_made_once_more_and_then_believed(slack: SlackTwin, notifier: SlackNotifier) -> None:
    slack.scopes = "chat:write"
    first = await told(notifier, row(1, thread=("step",)))
    slack.lose_answer(2)
    ref = first.ref
    for _ in range(2):
        with pytest.raises(NotifyUnavailable) as caught:
            await notifier.deliver(row(1, ref, ("step",)))
        ref = as_known(caught)
        assert ref["ts"] == first.ref["ts"]
    last = await told(notifier, row(1, ref, ("step",)))
    assert (last.lines, last.done, last.ref) == (1, True, first.ref)
    assert len(slack.thread(ref["ts"])) == 2


async def test_a_removed_message_is_posted_anew_with_the_news(slack: SlackTwin, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1))
    slack.messages.clear()
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(2, first.ref))
    assert caught.value.ref == {}
    await told(notifier, row(2, {}))
    assert [post.text for post in slack.parents()] == ["[CRITICAL] k v2"]
    gone = await told(notifier, row(2, {"channel": "#ops", "ts": "1.0", "rev": 2}, ("a", "b")))
    assert (gone.ref, gone.lines, gone.done) == ({}, None, True)


async def test_nobody_is_pinged_and_no_link_unfolds(slack: SlackTwin, notifier: SlackNotifier) -> None:
    hostile = "<!channel> <@U1> https://evil.example"
    await notifier.deliver(OutboxRow(channel="slack", key="k", rev=1, message=message("k", title=hostile)))
    [(_, args)] = slack.calls
    assert args["text"] == "[CRITICAL] &lt;!channel&gt; &lt;@U1&gt; https://evil.example"
    assert (args["parse"], args["link_names"]) == ("none", False)
    assert (args["unfurl_links"], args["unfurl_media"], args["mrkdwn"]) == (False, False, False)
