"""The door: nothing is sent too late, in the wrong epoch or for a dry run, and every end has a name."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from consulguard.act import ActContext, Action
from consulguard.act.base import Ending, Strict, done
from consulguard.act.runner import perform, probe
from consulguard.errors import (
    ActionRefused,
    BadAnswer,
    ConsulRefused,
    ConsulUnavailable,
    NotSent,
    StoreUnavailable,
)
from consulguard.model import Intent, JsonObject, Outcome

from tests.shell.act.support import CLOCK, EPOCH, closed_address, context, intent


class NoParams(Strict):
    word: str = ""


class Recorder(Action[NoParams]):
    """Does what the test tells it to, and remembers that it was asked."""

    name: ClassVar[str] = "test.recorder"
    Params: ClassVar[type[Strict]] = NoParams
    touches: ClassVar[str] = "nothing"

    def __init__(self, ending: Any = None) -> None:
        self.ending = ending
        self.sent: list[str] = []

    def preview(self, intent: Intent, params: JsonObject) -> str:
        return f"say {self.parse(intent.target, params).word}"

    async def do(self, params: NoParams, intent: Intent, ctx: ActContext) -> Ending:
        with ctx.effect(intent):
            self.sent.append(intent.id)
        if isinstance(self.ending, Exception):
            raise self.ending
        if self.ending == "hang":
            await asyncio.Event().wait()
        return done("said")

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        if isinstance(self.ending, Exception):
            raise self.ending
        return Outcome.DONE


WANTED = intent("test.recorder", {"word": "hello"})


@pytest.fixture
async def ctx() -> Any:
    given = context(closed_address())
    yield given
    await given.consul.close()


async def test_it_is_done_once_and_says_so(ctx: ActContext) -> None:
    action = Recorder()
    result = await perform(WANTED, {action.name: action}, ctx)
    assert (result.outcome, result.intent_id, result.detail) == (Outcome.DONE, WANTED.id, "said")
    assert action.sent == [WANTED.id]
    assert result.started_at <= result.ended_at


async def test_a_dry_run_previews_and_sends_nothing(ctx: ActContext) -> None:
    action = Recorder()
    dry = intent("test.recorder", {"word": "hello"}, dry_run=True)
    result = await perform(dry, {action.name: action}, ctx)
    assert (result.outcome, action.sent) == (Outcome.DONE, [])
    assert result.detail == "DRY-RUN would say hello"


async def test_even_a_direct_run_of_a_dry_intent_sends_nothing(ctx: ActContext) -> None:
    action = Recorder()
    with pytest.raises(ActionRefused):
        await action.run(intent("test.recorder", {}, dry_run=True), ctx)
    assert action.sent == []


@pytest.mark.parametrize(
    "late",
    [
        intent("test.recorder", {}, expires_at=CLOCK.now()),
        intent("test.recorder", {}, expires_at=CLOCK.now() - timedelta(hours=1)),
        intent("test.recorder", {}, epoch=EPOCH - 1),
        intent("test.recorder", {}, epoch=EPOCH + 1),
    ],
)
async def test_expired_or_of_another_epoch_is_not_sent(late: Intent, ctx: ActContext) -> None:
    action = Recorder()
    result = await perform(late, {action.name: action}, ctx)
    assert (result.outcome, action.sent) == (Outcome.RETRY, [])


async def test_the_lease_is_asked_again_right_before_the_effect() -> None:
    epochs = iter([EPOCH, EPOCH + 1])  # lost between the door and the effect
    action = Recorder()
    moving = context(closed_address(), fence=lambda: next(epochs))
    result = await perform(WANTED, {action.name: action}, moving)
    assert (result.outcome, action.sent) == (Outcome.RETRY, [])


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ActionRefused("no"), Outcome.FAILED),
        (ConsulRefused("no", status=403), Outcome.FAILED),
        (ConsulUnavailable("refused", sent=False), Outcome.RETRY),
        (ConsulUnavailable("busy", status=429), Outcome.RETRY),
        (ConsulUnavailable("no leader", status=500), Outcome.UNKNOWN),
        (ConsulUnavailable("timeout"), Outcome.UNKNOWN),
        (NotSent("later"), Outcome.RETRY),
        (BadAnswer("html"), Outcome.UNKNOWN),
        (StoreUnavailable("disk"), Outcome.UNKNOWN),
        (TimeoutError(), Outcome.UNKNOWN),
        (ZeroDivisionError("a bug"), Outcome.UNKNOWN),
    ],
)
async def test_every_error_has_an_outcome(error: Exception, outcome: Outcome, ctx: ActContext) -> None:
    action = Recorder(error)
    result = await perform(WANTED, {action.name: action}, ctx)
    assert result.outcome is outcome
    assert result.detail


async def test_the_deadline_is_unknown(ctx: ActContext) -> None:
    action = Recorder("hang")
    result = await perform(intent("test.recorder", {}, timeout_s=0.05), {action.name: action}, ctx)
    assert result.outcome is Outcome.UNKNOWN


async def test_cancelling_is_not_swallowed(ctx: ActContext) -> None:
    action = Recorder("hang")
    task = asyncio.create_task(perform(WANTED, {action.name: action}, ctx))
    while not action.sent:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_unknown_actions_and_params_are_refused(ctx: ActContext) -> None:
    action = Recorder()
    nobody = await perform(intent("test.nobody", {}), {action.name: action}, ctx)
    assert nobody.outcome is Outcome.FAILED
    wrong = await perform(intent("test.recorder", {"words": "x"}), {action.name: action}, ctx)
    assert wrong.outcome is Outcome.FAILED
    assert "did you mean word?" in wrong.detail
    assert action.sent == []


async def test_failpoints_sit_around_the_effect() -> None:
    seen: list[tuple[str, int]] = []
    action = Recorder()
    given = context(closed_address(), failpoint=lambda name: seen.append((name, len(action.sent))))
    await perform(WANTED, {action.name: action}, given)
    assert seen == [("act.before_send", 0), ("act.after_send", 1)]


async def test_a_probe_never_raises(ctx: ActContext) -> None:
    for error in (ConsulUnavailable("down"), ValueError("bug")):
        action = Recorder(error)
        assert (await probe(WANTED, {action.name: action}, ctx)).outcome is Outcome.UNKNOWN
    action = Recorder()
    assert (await probe(WANTED, {action.name: action}, ctx)).outcome is Outcome.DONE
    assert action.sent == []
