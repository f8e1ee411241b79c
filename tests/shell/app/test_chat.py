"""The chat room: who may say what, what is told to whom, and that a click counts once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from consulguard.app.chat import words
from consulguard.engine.step import snapshot
from consulguard.events import Do
from consulguard.model import QuestionState
from consulguard.testing.slack_state import SlackUser

from tests.core.engine.test_approvals import asking, question
from tests.shell.app.chat_scene import ChatScene


@pytest.fixture
async def scene() -> AsyncIterator[ChatScene]:
    async with ChatScene(asking()).open() as found:
        yield found


def incident(scene: ChatScene) -> str:
    return next(iter(scene.hand.world.state.book.incidents))


# ---- reading


async def test_help_lists_what_the_caller_may_say(scene: ChatScene) -> None:
    def verbs(told: str) -> set[str]:
        return {line.split(":")[0].split(" ")[0] for line in told.splitlines()[1:]}

    assert verbs(await scene.says(scene.bob, "help")) == set(words.READING)
    assert verbs(await scene.says(scene.olga, "")) >= {"ack", "pause", "silence", "run", *words.READING}
    assert "approve" not in verbs(await scene.says(scene.olga, "help"))
    assert verbs(await scene.says(scene.ann, "help")) >= {"approve", "deny"}
    assert verbs(await scene.says(scene.eve, "help")) == set(words.FORMS)
    assert "role viewer" in await scene.says(scene.mallory, "help")


async def test_what_is_read_is_told_to_who_asked_alone(scene: ChatScene) -> None:
    one = incident(scene)
    for text, word in (
        ("status", "c: warning"),
        ("status c", "c: warning"),
        ("status nobody", "no service nobody"),
        ("incidents", one),
        (f"show {one}", "drain-and-restart"),
        (f"explain {one}", "ALLOW"),
        ("explain c", one),
        ("explain drain-and-restart", "matches"),
        (f"timeline {one}", "opened"),
        ("plan", "DRY-RUN"),
        ("plan c", "DRY-RUN"),
        ("show inc-nobody", "no incident"),
    ):
        assert word in await scene.says(scene.bob, text), text
    assert scene.channel() == []
    assert scene.hand.said == []


async def test_a_typo_is_answered_with_a_suggestion(scene: ChatScene) -> None:
    assert "did you mean status?" in await scene.says(scene.bob, "statsu")
    assert "approve" not in await scene.says(scene.bob, "aprove 12")
    assert scene.hand.said == []


async def test_the_topology_is_a_picture_in_the_channel(scene: ChatScene) -> None:
    assert await scene.says(scene.bob, "topology c") == ""
    (file,) = scene.slack.space.files.values()
    assert file.body is not None
    assert file.body.startswith(b"\x89PNG")
    assert scene.slack.messages[-1].files == [file.id]


async def test_without_a_picture_the_topology_is_told_in_words(scene: ChatScene) -> None:
    scene.slack.scopes = scene.slack.scopes.replace("files:write", "")
    told = await scene.says(scene.bob, "topology")
    assert "a (passing) calls b (passing)" in told
    assert "no service nobody" in await scene.says(scene.bob, "topology nobody")


async def test_a_dry_run_changes_nothing(scene: ChatScene) -> None:
    before = snapshot(scene.hand.world.state)
    assert "DRY-RUN" in await scene.says(scene.bob, "run drain-and-restart c --dry-run")
    assert snapshot(scene.hand.world.state) == before
    assert scene.hand.said == []


# ---- deciding


async def test_what_is_decided_is_told_in_the_channel_with_who_did_it(scene: ChatScene) -> None:
    assert await scene.says(scene.olga, "pause moving house") == ""
    ((name, args, who),) = scene.hand.said
    assert (name, args["reason"], who) == ("pause", "moving house", f"olga ({scene.olga.id} in Slack)")
    assert args["caller"]["user"] == scene.olga.id
    assert any(line.startswith("olga: ") for line in scene.channel())
    (pause,) = scene.hand.world.state.pauses
    assert scene.olga.id in pause.who


async def test_who_may_not_is_told_so_politely_and_on_record(scene: ChatScene) -> None:
    asked = question(scene.hand.world)
    told = await scene.says(scene.bob, f"approve {asked.id}")
    assert told.startswith("Sorry: approve needs the role approver")
    (refusal,) = scene.refusals()
    assert (refusal["verb"], refusal["subject"], refusal["caller"]["user"]) == ("approve", asked.id, scene.bob.id)
    assert question(scene.hand.world) == asked
    assert scene.channel() == []


async def test_an_approval_by_click_is_one_decision(scene: ChatScene) -> None:
    asked = question(scene.hand.world)
    assert await scene.presses(scene.ann, "Approve") == ""
    assert scene.hand.world.state.questions[asked.id].state is QuestionState.APPROVED
    assert scene.slack.messages[-1].thread_ts == scene.message().ts
    (vote,) = scene.hand.world.state.questions[asked.id].votes
    assert scene.ann.id in vote.who


async def test_a_hundred_clicks_at_once_are_one_decision(scene: ChatScene) -> None:
    asked = question(scene.hand.world)
    message = scene.message()
    more = [scene.slack.add_user(f"sre{n}") for n in range(9)]
    scene.group.users += [user.id for user in more]
    crowd = [scene.ann, *more]
    await asyncio.gather(*(scene.people.click(crowd[n % 10], message, "Approve") for n in range(100)))
    await scene.idle()
    decided = scene.hand.world.state.questions[asked.id]
    assert (decided.state, len(decided.votes)) == (QuestionState.APPROVED, 1)
    told = [line for user in crowd for line in scene.people.whispers(user)]
    assert len(told) == 99
    assert all(line.startswith("Sorry: ") for line in told)
    assert len(scene.channel()) == 1
    sent = [e for e in scene.hand.world.effects if isinstance(e, Do)]
    assert len(sent) <= 1


async def test_one_click_delivered_again_and_again_counts_once(scene: ChatScene) -> None:
    delivery = await scene.people.click(scene.ann, scene.message(), "Approve")
    for _ in range(3):
        await scene.people.again(delivery)
    await scene.idle()
    assert scene.hand.names() == ["click"]
    assert len(scene.channel()) == 1


async def test_a_denial_asks_for_its_reason(scene: ChatScene) -> None:
    asked = question(scene.hand.world)
    await scene.presses(scene.ann, "Deny")
    (form,) = scene.slack.space.views
    assert scene.hand.said == []
    await scene.people.submit(scene.ann, form, reason="not <now>")
    await scene.idle()
    decided = scene.hand.world.state.questions[asked.id]
    assert decided.state is QuestionState.DENIED
    ((_, args, _),) = scene.hand.said
    assert args["reason"] == "not <now>"
    assert args["caller"]["channel"] == scene.slack.channel("incidents").id
    assert any(line.startswith("ann: denied") for line in scene.channel())


async def test_a_silence_asks_for_how_long(scene: ChatScene) -> None:
    await scene.presses(scene.olga, "Silence")
    (form,) = scene.slack.space.views
    await scene.people.submit(scene.olga, form, **{"for": "4h", "comment": "known"})
    await scene.idle()
    (silence,) = scene.hand.world.state.silences.values()
    assert (silence.ends_at - silence.starts_at).total_seconds() == 4 * 3600
    assert silence.comment == "known"


async def test_who_may_not_gets_no_form(scene: ChatScene) -> None:
    assert "needs the role" in await scene.presses(scene.bob, "Deny")
    assert scene.slack.space.views == []
    assert scene.refusals()[0]["verb"] == "deny"


async def test_the_menu_explains(scene: ChatScene) -> None:
    assert incident(scene) in await scene.presses(scene.bob, "Explain")
    assert "opened" in await scene.presses(scene.bob, "Timeline")
    assert await scene.presses(scene.bob, "Topology") == ""
    assert scene.slack.messages[-1].files


@pytest.mark.parametrize("value", ["f" * 32, "", "drain-and-restart", "x" * 300, "inc-1"])
async def test_a_forged_button_does_nothing(scene: ChatScene, value: str) -> None:
    asked = question(scene.hand.world)
    told = await scene.presses(scene.ann, "Approve", value=value)
    assert "not known" in told
    assert question(scene.hand.world) == asked
    assert scene.hand.names() == ["click"]


async def test_what_the_button_says_it_is_does_not_count(scene: ChatScene) -> None:
    """An Approve dressed up as an Explain: the right to approve is what is checked."""
    approve = next(o for o in scene.told().offers if o.verb == "approve")
    told = await scene.presses(scene.bob, "Approve", action_id="explain", value=approve.id)
    assert "needs the role approver" in told
    assert question(scene.hand.world)


# ---- who


STRANGERS: list[tuple[str, dict[str, Any]]] = [
    ("deactivated", {"deleted": True}),
    ("bots", {"is_bot": True}),
    ("guests", {"is_restricted": True}),
    ("guests", {"is_ultra_restricted": True}),
    ("other workspaces", {"is_stranger": True}),
    ("workspace", {"team_id": "T0OTHER"}),
]


@pytest.mark.parametrize(("word", "fields"), STRANGERS)
async def test_strangers_are_refused_whatever_their_role(
    scene: ChatScene, word: str, fields: dict[str, Any]
) -> None:
    for name, value in fields.items():
        setattr(scene.eve, name, value)
    assert word in await scene.says(scene.eve, "resume")
    assert word in await scene.presses(scene.eve, "Approve")
    assert scene.hand.names() == ["refused", "refused"]
    assert [r["verb"] for r in scene.refusals()] == ["resume", "click"]


async def test_another_app_or_workspace_is_refused(scene: ChatScene) -> None:
    payload = scene.people.pressed(scene.ann, scene.message(), "Approve")
    for changed in (
        {"api_app_id": "A0OTHER"},
        {"team": {"id": "T0OTHER", "domain": "other"}},
        {"user": payload["user"] | {"team_id": "T0OTHER"}},
        {"team": None, "user": {"id": scene.ann.id}},
    ):
        fresh = {"trigger_id": scene.slack.space.trigger()}
        await scene.people.send("interactive", payload | changed | fresh)
        await scene.idle()
    assert scene.hand.names() == ["refused"] * 4
    assert question(scene.hand.world)


async def test_a_whole_other_workspace_has_no_say(scene: ChatScene) -> None:
    """Consistent in itself, and still none of those that are configured."""
    other = SlackUser(id=scene.eve.id, name="eve", team_id="T0OTHER")
    scene.slack.space.users[other.id] = other
    payload = scene.people.pressed(other, scene.message(), "Approve") | {"team": {"id": "T0OTHER"}}
    await scene.people.send("interactive", payload)
    await scene.idle()
    assert scene.hand.names() == ["refused"]
    assert "workspace" in scene.people.whispers(other)[-1]


async def test_groups_and_people_are_asked_for_every_five_minutes(scene: ChatScene) -> None:
    def asked(method: str) -> int:
        return len([1 for name, _ in scene.slack.calls if name == method])

    for _ in range(3):
        await scene.says(scene.ann, "status")
    assert (asked("users.info"), asked("usergroups.list")) == (1, 1)
    scene.group.users.clear()
    assert "approve" in await scene.says(scene.ann, "help")
    scene.clock.advance(301)
    assert "approve" not in await scene.says(scene.ann, "help")
    assert (asked("users.info"), asked("usergroups.list")) == (2, 2)


async def test_without_slacks_word_nobody_is_in_a_group(scene: ChatScene) -> None:
    scene.slack.scopes = scene.slack.scopes.replace("usergroups:read", "")
    assert "role viewer" in await scene.says(scene.ann, "status")
    assert "c: warning" in await scene.says(scene.bob, "status")


async def test_who_slack_does_not_know_is_nobody(scene: ChatScene) -> None:
    scene.slack.scopes = scene.slack.scopes.replace("users:read", "")
    assert "does not say who you are" in await scene.says(scene.eve, "resume")
    assert scene.hand.names() == ["refused"]


# ---- Slack's bad days


@pytest.mark.parametrize("status", [404, 410])
async def test_an_answer_finds_its_way_without_the_response_url(scene: ChatScene, status: int) -> None:
    scene.people.hook_error(status, count=2)
    assert "c: warning" in await scene.says(scene.bob, "status")
    assert await scene.says(scene.olga, "pause x") == ""
    assert any(line.startswith("olga: ") for line in scene.channel())


@pytest.mark.parametrize("status", [429, 500])
async def test_an_answer_is_tried_again(scene: ChatScene, status: int) -> None:
    scene.people.hook_error(status, count=1)
    assert "c: warning" in await scene.says(scene.bob, "status")


async def test_a_lost_answer_is_not_told_twice(scene: ChatScene) -> None:
    scene.people.hook_error(0, count=1)
    await scene.says(scene.olga, "pause x")
    assert len(scene.channel()) == 1


async def test_a_form_that_does_not_open_is_said(scene: ChatScene) -> None:
    await scene.says(scene.ann, "help")  # so that the next call is the form
    scene.slack.fail("expired_trigger_id")
    assert "press again" in await scene.presses(scene.ann, "Deny")
    assert scene.hand.said == []
