"""kill -9 at every fail-point of every shipped action, and what the next life makes of it.

The judge is offline: it reads what the targets recorded, what reached Consul and the journal's tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support.case import CONSUL, EXEC, HTTP, KINDS, SSH, Case
from tests.e2e.support.judge import judge, judge_asked, judge_often, judge_undone
from tests.support.sshd import need_sshd

pytestmark = [pytest.mark.real, pytest.mark.slow]

BEFORE = ("app.after_intent", "act.before_send")
AFTER = ("act.after_send", "app.before_result")

Play = Callable[[Case, str], Awaitable[None]]
Stage = Callable[[Iterable[tuple[str, str]], Play, bool], Awaitable[None]]


@pytest.fixture
def stage(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> Stage:
    """Plays (kind, point) cases side by side on one Consul, each with a service and a bot of its own."""

    async def one(number: int, kind: str, point: str, play: Play, undo: bool) -> None:
        folder = tmp_path / str(number)  # short: the bot's socket lies in it
        async with Case(kind, real_consul_module, folder, f"{unique}-{number}", undo=undo) as case:
            await play(case, point)

    async def staged(cases: Iterable[tuple[str, str]], play: Play, undo: bool) -> None:
        async with asyncio.TaskGroup() as group:
            for number, (kind, point) in enumerate(cases):
                group.create_task(one(number, kind, point, play, undo), name=f"{kind} {point}")

    return staged


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kill_during_an_effect(kind: str, stage: Stage) -> None:
    async def play(case: Case, point: str) -> None:
        case.bot.start(f"{point}:kill")
        await case.fail()
        await case.bot.died()
        assert len(case.record().attempts) == 1
        case.bot.start()
        await case.comes_to_rest()
        judge(case, killed_after_send=point in AFTER)

    await stage([(kind, point) for point in (*BEFORE, *AFTER)], play, False)


async def test_a_kill_during_a_command_over_ssh(stage: Stage) -> None:
    """Through the wrapper: the next life asks the target."""
    need_sshd()

    async def play(case: Case, point: str) -> None:
        case.bot.start(f"{point}:kill")
        await case.fail()
        await case.bot.died()
        case.bot.start()
        await case.comes_to_rest()
        judge_asked(case, killed_after_send=point in AFTER)

    await stage([(SSH, point) for point in (*BEFORE, *AFTER)], play, False)


@pytest.mark.parametrize("kind", CONSUL)
async def test_a_kill_while_an_effect_is_taken_back(kind: str, stage: Stage) -> None:
    async def play(case: Case, point: str) -> None:
        case.bot.start(f"{point}:kill:2")
        await case.fail()
        await case.bot.died()
        assert len(case.record().attempts) == 2
        case.bot.start()
        await case.comes_to_rest()
        judge_undone(case)
        assert await case.left_behind() is None

    await stage([(kind, point) for point in ("act.before_send", "act.after_send")], play, True)


async def test_a_kill_in_every_commit_of_the_way(stage: Stage) -> None:
    """Each life dies later than the one before, until the run is over. Before eight commits nothing is settled."""

    async def play(case: Case, point: str) -> None:
        await case.fail()
        for nth in range(8, 60):
            case.bot.start(f"{point}:kill:{nth}")
            if not await case.died_or_came_to_rest():
                judge_often(case)
                return
        raise AssertionError("the run never came to its end")

    await stage([(kind, "app.after_journal") for kind in (HTTP[0], EXEC[1])], play, False)


async def test_a_second_kill_while_the_first_is_made_good(stage: Stage) -> None:
    """Done again and killed again; probed and killed while probing."""

    async def play(case: Case, point: str) -> None:
        case.bot.start("act.after_send:kill")
        await case.fail()
        await case.bot.died()
        case.bot.start(f"{point}:kill")
        await case.bot.died()
        case.bot.start()
        await case.comes_to_rest()
        judge(case, killed_after_send=True)

    again, probing = "act.after_send", "app.after_journal"
    await stage([(HTTP[0], again), (EXEC[0], again), (HTTP[1], probing), (EXEC[1], probing)], play, False)
