"""kill -9 at every fail-point of every shipped action, and what the next life makes of it.

The judge is offline: it reads what the targets recorded, what reached Consul and the journal's tables.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support.case import CONSUL, DESTRUCTIVE, EXEC, HTTP, NOWHERE, ONCE, REPEATABLE, SSH, Case
from tests.e2e.support.judge import judge, judge_asked, judge_often, judge_undone, taken_up_in_time
from tests.support.sshd import need_sshd

pytestmark = [pytest.mark.real, pytest.mark.slow]

BEFORE = ("app.after_intent", "act.before_send")
AFTER = ("act.after_send", "app.before_result")
TIMES = 3

Play = Callable[[Case, str], Awaitable[None]]
Stage = Callable[[Iterable[tuple[str, str]], Play, bool], Awaitable[None]]


@pytest.fixture
def stage(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> Stage:
    """Plays (kind, point) cases side by side on one Consul, each with a service and a bot of its own."""

    async def one(number: int, kind: str, point: str, play: Play, undo: bool) -> None:
        folder = tmp_path / str(number)  # short: the bot's socket lies in it
        async with Case(kind, real_consul_module, folder, f"{unique}-{number}", undo=undo) as case:
            await play(case, point)

    numbers = itertools.count()

    async def staged(cases: Iterable[tuple[str, str]], play: Play, undo: bool) -> None:
        async with asyncio.TaskGroup() as group:
            for kind, point in cases:
                group.create_task(one(next(numbers), kind, point, play, undo), name=f"{kind} {point}")

    return staged


async def killed_three_times(case: Case, point: str) -> None:
    """At the same point, one life after the other, as long as an attempt passes it again."""
    for life in range(TIMES):
        case.bot.start(f"{point}:kill")
        if life == 0:
            await case.fail()
            await case.bot.died()
            assert len(case.record().attempts) == 1
        elif not await case.died_or_came_to_rest():
            break  # what it found was done already
    else:
        case.bot.start()
        await case.comes_to_rest()
    judge(case, killed_after_send=point in AFTER)


@pytest.mark.parametrize("kind", REPEATABLE)
async def test_a_kill_during_an_effect(kind: str, stage: Stage) -> None:
    await stage([(kind, point) for point in (*BEFORE, *AFTER)], killed_three_times, False)


@pytest.mark.timeout(360)
@pytest.mark.parametrize("kind", DESTRUCTIVE)
async def test_a_kill_during_an_effect_that_two_people_approved(kind: str, stage: Stage) -> None:
    """Their word is in the journal: it counts for what is made good after the kill, and for nothing else."""
    await stage([(kind, point) for point in (*BEFORE, *AFTER)], killed_three_times, False)


@pytest.mark.parametrize("kind", ONCE)
async def test_a_kill_during_an_effect_that_must_not_be_repeated(kind: str, stage: Stage) -> None:
    """Three runs for each point: after the first kill none of them passes it again."""

    async def play(case: Case, point: str) -> None:
        case.bot.start(f"{point}:kill")
        await case.fail()
        await case.bot.died()
        assert len(case.record().attempts) == 1
        case.bot.start()
        await case.comes_to_rest()
        judge(case, killed_after_send=point in AFTER)

    for _ in range(TIMES):
        await stage([(kind, point) for point in (*BEFORE, *AFTER)], play, False)


async def test_a_kill_during_a_step_that_reaches_nobody(stage: Stage) -> None:
    """``wait`` and ``notify`` have no target: they are made again, and the run goes on."""

    async def play(case: Case, point: str) -> None:
        case.bot.start(f"{point}:kill")
        await case.fail()
        await case.bot.died()
        case.bot.start()
        await case.comes_to_rest()
        assert case.rest().startswith("done"), case.rest()
        assert (len(case.record().attempts), case.recorded(), case.proxy.writes) == (1, [], [])
        taken_up_in_time(case.record())

    await stage([(kind, point) for kind in NOWHERE for point in (*BEFORE, *AFTER)], play, False)


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
        for life in range(TIMES):
            case.bot.start(f"{point}:kill:{2 if life == 0 else 1}")
            if life == 0:
                await case.fail()
                await case.bot.died()
            elif not await case.died_or_came_to_rest():
                break  # what it found was undone already
            assert len(case.record().attempts) == 2
        else:
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
