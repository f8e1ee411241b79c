"""Much at once: board and summaries instead of a flood, within Slack's pace, in bounded room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from consulguard.app.receivers import SLACK
from consulguard.clock import FakeClock
from consulguard.journal import SqliteStore
from consulguard.model import Message, Offer
from consulguard.notify import OutboxWorker
from consulguard.notify.slack import SlackNotifier, SlackSettings
from consulguard.testing import RecordingNotifier, SlackTwin

from tests.support.messages import START, incident

PACE = msgspec.structs.replace(SLACK, board_s=10.0)


def news(number: int, version: int = 1, *, severity: str = "critical", asks: bool = False) -> Message:
    key = f"inc-{number:06}"
    subject = msgspec.structs.replace(incident(f"svc-{number}", ()), id=key, version=version)
    offers = (Offer(id=f"{number}", verb="approve"),) if asks else ()
    return Message(
        key=key,
        version=version,
        severity=severity,
        title=f"svc-{number}: root cause",
        at=START + timedelta(seconds=number),
        incident=subject,
        offers=offers,
    )


class Scene:
    """One channel of a twin that is as strict as Slack, and a clock that is moved by hand."""

    def __init__(self, slack: SlackTwin, store: SqliteStore, clock: FakeClock) -> None:
        self.slack = slack
        self.store = store
        self.clock = clock
        self.notifier = SlackNotifier(SlackSettings(channel="C00001", base_url=slack.api), lambda: slack.token)
        self.worker = OutboxWorker(store, self.notifier, clock, lambda: 0.5, PACE)
        self.most_waiting = 0

    async def tell(self, *messages: Message) -> None:
        await self.store.append([], messages)
        self.worker.poke()

    async def run(self, seconds: float) -> None:
        """The worker for so long, each turn when it wants it."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 1e-9:
            pause = await self.worker.turn()
            counts = await self.store.outbox_counts()
            self.most_waiting = max(self.most_waiting, counts.get("slack/pending", 0))
            self.clock.advance(min(max(pause, 0.001), left))

    def texts(self) -> list[str]:
        return [message.text for message in self.slack.parents()]

    def writes(self) -> int:
        return sum(method.startswith("chat.") for method, _ in self.slack.calls)

    def shown(self, start: str) -> str:
        """What the one message that begins so says."""
        [message] = [m for m in self.slack.parents() if m.text.startswith(start)]
        return "\n".join(
            part["text"]["text"] for part in message.attachments[0]["blocks"] if part["type"] == "section"
        )


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = FakeClock()
    async with SlackTwin(limits=True, clock=clock) as slack:
        async with SqliteStore(tmp_path / "j.db", channels=("slack",)) as store:
            made = Scene(slack, store, clock)
            yield made
            await made.notifier.close()


async def test_ten_thousand_incidents_in_ten_minutes(scene: Scene) -> None:
    for second in range(600):
        first = second * 10_000 // 600
        await scene.tell(*(news(n) for n in range(first, (second + 1) * 10_000 // 600)))
        await scene.run(1.0)
    assert scene.slack.refused_429 == 0
    assert scene.writes() <= 150
    await scene.run(30.0)
    counts = await scene.store.outbox_counts()
    assert (counts["dropped"], counts.get("slack/pending", 0)) == (0, 0)
    assert scene.most_waiting <= 60
    singles = [text for text in scene.texts() if "svc-" in text]
    assert len(scene.slack.parents()) <= 5
    told_together = 10_000 - len(singles)
    assert "[CRITICAL] Still failing now: 10000" in scene.texts()
    assert f"[WARNING] {told_together} incidents told together" in scene.texts()
    assert scene.shown("[CRITICAL] Still failing now").endswith("+9985 more")
    await afterwards(scene, len(scene.slack.parents()))


async def afterwards(scene: Scene, posts: int) -> None:
    """They end: nothing that was not told by itself is told now. What has news is told by itself again."""
    await scene.run(120.0)
    for first in range(0, 9_990, 555):
        await scene.tell(*(news(n, 2, severity="resolved") for n in range(first, first + 555)))
        await scene.run(20.0)
    await scene.tell(news(9_995, 2))
    await scene.run(120.0)
    assert "[CRITICAL] Still failing now: 10" in scene.texts()
    assert scene.texts()[posts:] == ["[CRITICAL] svc-9995: root cause"]
    assert scene.slack.refused_429 == 0


async def test_slack_down_for_an_hour_loses_nothing_and_floods_nothing_afterwards(scene: Scene) -> None:
    await scene.tell(news(1))
    await scene.run(30.0)
    await scene.slack.stop()
    for minute in range(60):
        await scene.tell(news(100 + minute), news(1, 2 + minute))
        await scene.run(60.0)
    await scene.slack.start()
    calls = scene.writes()
    await scene.run(600.0)
    assert scene.slack.refused_429 == 0
    assert scene.writes() - calls <= PACE.crowd + 10
    texts = scene.texts()
    together = [text for text in texts if text.endswith("told together")]
    singles = [text for text in texts if "svc-" in text]
    assert len(texts) == len(together) + len(singles) + 1
    assert sum(int(text.split()[1]) for text in together) + len(singles) == 61
    assert "[CRITICAL] Still failing now: 61" in texts
    assert scene.slack.parents()[0].edits >= 1


async def test_a_question_is_asked_by_itself_whatever_else_waits(scene: Scene) -> None:
    await scene.tell(*(news(n, asks=n == 150) for n in range(300)))
    await scene.run(30.0)
    assert [text for text in scene.texts() if "svc-" in text] == ["[CRITICAL] svc-150: root cause"]
    assert "[WARNING] 299 incidents told together" in scene.texts()


async def test_the_board_is_one_message_edited_as_incidents_open_and_end(scene: Scene) -> None:
    await scene.run(5.0)
    assert scene.texts() == []  # nothing ever failed: no board
    await scene.tell(news(1), news(2, severity="warning"))
    await scene.run(30.0)
    assert "svc-1: root cause" in scene.shown("[CRITICAL] Still failing now: 2")
    await scene.tell(news(1, 2, severity="resolved"))
    await scene.run(30.0)
    assert "svc-1:" not in scene.shown("[WARNING] Still failing now: 1")
    await scene.tell(news(2, 2, severity="resolved"))
    await scene.run(30.0)
    board = scene.slack.parents()[-1]
    assert (board.text, board.attachments[0]["color"]) == ("[RESOLVED] Nothing fails now", "#2eb886")
    assert len(scene.slack.parents()) == 3
    calls = len(scene.slack.calls)
    await scene.run(120.0)
    assert len(scene.slack.calls) == calls  # nothing new: nothing said


async def test_the_board_is_edited_at_its_own_pace(scene: Scene) -> None:
    for second in range(60):
        await scene.tell(news(second % 5, 1 + second, severity="critical" if second % 13 > 4 else "resolved"))
        await scene.run(1.0)
    [board] = [m for m in scene.slack.parents() if "failing" in m.text or "Nothing fails" in m.text]
    assert 2 <= board.edits <= 60 / PACE.board_s + 1


async def test_the_board_goes_on_after_a_restart(scene: Scene) -> None:
    await scene.tell(news(1))
    await scene.run(30.0)
    scene.worker = OutboxWorker(scene.store, scene.notifier, scene.clock, lambda: 0.5, PACE)
    await scene.tell(news(2))
    await scene.run(30.0)
    assert [text for text in scene.texts() if "Still failing" in text] == ["[CRITICAL] Still failing now: 2"]


async def test_receivers_of_one_channel_share_its_pace(tmp_path: Path) -> None:
    clock = FakeClock()
    async with SqliteStore(tmp_path / "j.db", channels=("one", "two")) as store:
        receivers = [RecordingNotifier("one"), RecordingNotifier("two")]
        workers = [OutboxWorker(store, r, clock, lambda: 0.5, PACE) for r in receivers]
        workers[0].pace = workers[1].pace
        await store.append([], [news(n) for n in range(5)])
        for _ in range(4):
            for worker in workers:
                await worker.turn()
            clock.advance(PACE.interval_s)
        assert sum(len(r.rows) for r in receivers) == 4
