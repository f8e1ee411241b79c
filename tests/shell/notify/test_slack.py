"""The Slack notifier against a stub: posted once, edited in place, its thread in order, whatever goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.model import JsonObject, OutboxRow
from consulguard.notify import Told
from consulguard.notify.slack import SlackNotifier, SlackSettings

from tests.shell.notify.stub import SlackStub
from tests.support.messages import message


@pytest.fixture
async def slack() -> AsyncIterator[SlackStub]:
    async with SlackStub() as stub:
        yield stub


@pytest.fixture
async def notifier(slack: SlackStub) -> AsyncIterator[SlackNotifier]:
    made = SlackNotifier(SlackSettings(channel="#ops", base_url=slack.url, timeout_s=0.5), lambda: "xoxb-1")
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


async def test_posted_then_edited_then_answered_in_the_thread(slack: SlackStub, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1, thread=("step one", "step two")))
    assert (first.lines, first.done) == (0, False)
    second = await told(notifier, row(1, first.ref, ("step one", "step two")))
    assert (second.lines, second.done) == (2, True)
    third = await told(notifier, row(2, second.ref))
    assert (third.lines, third.done) == (0, True)
    assert [method for method, _ in slack.calls] == ["chat.postMessage", "chat.postMessage", "chat.update"]
    [post] = slack.posts
    assert post["text"] == "[CRITICAL] k v2"
    [reply] = slack.replies
    assert reply["blocks"][0]["text"]["text"] == "step one\nstep two"
    assert reply["thread_ts"] == first.ref["ts"] == third.ref["ts"]
    assert slack.calls[0][1]["channel"] == "#ops"
    assert slack.calls[2][1]["channel"] == "C1"  # an edit needs the id, not the name
    assert set(slack.tokens) == {"Bearer xoxb-1"}


async def test_nothing_new_is_no_call(slack: SlackStub, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1))
    assert (await told(notifier, row(1, first.ref))).done
    assert len(slack.calls) == 1


async def test_the_token_is_read_again_for_each_call(slack: SlackStub) -> None:
    tokens = iter(["old", "new"])
    notifier = SlackNotifier(SlackSettings(channel="C1", base_url=slack.url), lambda: next(tokens))
    first = await told(notifier, row(1))
    await told(notifier, row(2, first.ref))
    await notifier.close()
    assert slack.tokens == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long", "invalid_attachments"])
async def test_refused_blocks_become_one_plain_line(slack: SlackStub, notifier: SlackNotifier, error: str) -> None:
    slack.script.append(error)
    first = await told(notifier, row(1))
    [post] = slack.posts
    assert (post["text"], post["attachments"], post["blocks"]) == ("[CRITICAL] k v1", [], [])
    slack.refuse_blocks = True
    second = await told(notifier, row(2, first.ref, ("step",)))
    await told(notifier, row(2, second.ref, ("step",)))
    assert slack.posts[0]["text"] == "[CRITICAL] k v2"
    assert slack.replies[0]["text"] == "step"


async def test_too_many_requests_names_the_wait(slack: SlackStub, notifier: SlackNotifier) -> None:
    slack.script.append(429)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(1))
    assert (caught.value.retry_after_s, caught.value.for_all, caught.value.ref) == (2.0, True, None)


@pytest.mark.parametrize("trouble", [500, 503, "internal_error", "fatal_error"])
async def test_slack_in_trouble_is_temporary(
    slack: SlackStub, notifier: SlackNotifier, trouble: str | int
) -> None:
    slack.script.append(trouble)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(1))
    assert caught.value.ref is None
    assert len(slack.calls) == 1


@pytest.mark.parametrize("error", ["invalid_auth", "channel_not_found", "missing_scope"])
async def test_what_a_person_can_mend_waits_for_the_person(
    slack: SlackStub, notifier: SlackNotifier, error: str
) -> None:
    slack.script.append(error)
    with pytest.raises(NotifyUnavailable, match=error) as caught:
        await notifier.deliver(row(1))
    assert caught.value.retry_after_s >= 60


async def test_anything_else_is_final(slack: SlackStub, notifier: SlackNotifier) -> None:
    slack.script.append("as_user_not_supported")
    with pytest.raises(NotifyRefused, match="as_user_not_supported"):
        await notifier.deliver(row(1))


async def test_a_slack_that_is_not_there_is_certainly_not_told(notifier: SlackNotifier, slack: SlackStub) -> None:
    await slack.__aexit__()
    with pytest.raises(NotifyUnavailable, match="cannot be reached") as caught:
        await notifier.deliver(row(1))
    assert caught.value.ref is None


@pytest.mark.parametrize("loss", ["cut", "hang", "garbage"])
async def test_a_lost_answer_makes_one_duplicate_at_most(
    slack: SlackStub, notifier: SlackNotifier, loss: str
) -> None:
    slack.script.extend([loss] * 2)
    with pytest.raises(NotifyUnavailable, match="lost") as caught:
        await notifier.deliver(row(1))
    assert (caught.value.ref, caught.value.retry_after_s) == ({"unsure": 1}, 0.0)
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(1, {"unsure": 1}))
    assert caught.value.retry_after_s >= 300
    assert not caught.value.for_all  # other messages need not wait
    assert len(slack.calls) == len(slack.posts) == 2


async def test_a_lost_edit_is_simply_made_again(slack: SlackStub, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1))
    slack.script.append("cut")
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(2, first.ref))
    assert caught.value.ref is None
    await told(notifier, row(2, first.ref))
    assert [post["text"] for post in slack.posts] == ["[CRITICAL] k v2"]


async def test_a_lost_reply_is_made_once_more_and_then_believed(slack: SlackStub, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1, thread=("step",)))
    slack.script.extend(["cut", "cut"])
    ref = first.ref
    for _ in range(2):
        with pytest.raises(NotifyUnavailable) as caught:
            await notifier.deliver(row(1, ref, ("step",)))
        assert caught.value.ref is not None
        ref = dict(caught.value.ref)
        assert ref["ts"] == first.ref["ts"]
    last = await told(notifier, row(1, ref, ("step",)))
    assert (last.lines, last.done, last.ref) == (1, True, first.ref)
    assert len(slack.replies) == 2


async def test_a_removed_message_is_posted_anew_with_the_news(slack: SlackStub, notifier: SlackNotifier) -> None:
    first = await told(notifier, row(1))
    slack.messages.clear()
    with pytest.raises(NotifyUnavailable) as caught:
        await notifier.deliver(row(2, first.ref))
    assert caught.value.ref == {}
    await told(notifier, row(2, {}))
    assert [post["text"] for post in slack.posts] == ["[CRITICAL] k v2"]
    slack.script.append("thread_not_found")
    gone = await told(notifier, row(2, {"channel": "C1", "ts": "1.0", "rev": 2}, ("a", "b")))
    assert (gone.ref, gone.lines, gone.done) == ({}, None, True)


async def test_nobody_is_pinged_and_no_link_unfolds(slack: SlackStub, notifier: SlackNotifier) -> None:
    hostile = "<!channel> <@U1> https://evil.example"
    await notifier.deliver(OutboxRow(channel="slack", key="k", rev=1, message=message("k", title=hostile)))
    [(_, args)] = slack.calls
    assert args["text"] == "[CRITICAL] &lt;!channel&gt; &lt;@U1&gt; https://evil.example"
    assert (args["parse"], args["link_names"]) == ("none", False)
    assert (args["unfurl_links"], args["unfurl_media"], args["mrkdwn"]) == (False, False, False)
