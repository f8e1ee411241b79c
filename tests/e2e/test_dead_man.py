"""A process that is stopped or stuck ends with code 70, and nothing leaves it on what it once knew."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support.case import CONSUL, EXEC, HTTP, Case
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXIT_CODE = 70
STOPPED_S = 8.0  # longer than the loop may be late, shorter than the kernel's own alarm
OURS = {"dead_man": {}}  # the defaults
BEFORE = "act.before_send"


async def stopped_with_an_effect_prepared(case: Case) -> None:
    """SIGSTOP between the last journal entry and the effect; nothing is sent when it wakes."""
    case.bot.start(f"{BEFORE}:stop")
    await case.fail()
    await stops_and_wakes(case)
    await ended(case, "the event loop is")
    assert len(case.record().attempts) == 1
    nothing_was_done(case)


async def stopped_while_idle(case: Case) -> None:
    case.bot.start()
    await eventually(lambda: settled(case), bool, within_s=60.0)
    case.bot.signal(signal.SIGSTOP)
    await stops_and_wakes(case)
    await ended(case, "the event loop is")


async def blocked_in_an_action(case: Case) -> None:
    case.bot.start(f"{BEFORE}:block20")
    await case.fail()
    await ended(case, "the event loop is")
    assert len(case.record().attempts) == 1
    nothing_was_done(case)


async def the_disk_does_not_answer(case: Case) -> None:
    """From the tenth sync on each takes nine seconds."""
    slow = ("strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=fdatasync")
    case.bot.start(under=(*slow, "-e", "inject=fdatasync:delay_enter=9s:when=10+"))
    await case.fail()
    await ended(case, "the journal has taken")
    nothing_was_done(case)


PLAYS = (
    (HTTP[1], stopped_with_an_effect_prepared),
    (EXEC[0], stopped_with_an_effect_prepared),
    (CONSUL[0], stopped_with_an_effect_prepared),
    (CONSUL[3], stopped_while_idle),
    (EXEC[0], blocked_in_an_action),
    (HTTP[0], the_disk_does_not_answer),
)


async def test_it_ends_before_it_acts_on_old_knowledge(
    real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    async def play(number: int) -> None:
        kind, what = PLAYS[number]
        folder = tmp_path / str(number)
        async with Case(kind, real_consul_module, folder, f"{unique}-{number}", server=OURS) as case:
            await what(case)

    async with asyncio.TaskGroup() as group:
        for number, (kind, what) in enumerate(PLAYS):
            group.create_task(play(number), name=f"{kind}: {what.__name__}")


async def settled(case: Case) -> bool:
    return any(line.body["view"].get("settled") for line in case.record().events("ViewChanged"))


async def stops_and_wakes(case: Case) -> None:
    async def is_stopped() -> bool:
        return case.bot.stopped

    await eventually(is_stopped, bool, within_s=60.0)
    await asyncio.sleep(STOPPED_S)
    case.bot.signal(signal.SIGCONT)


async def ended(case: Case, because: str) -> None:
    assert await case.bot.ended() == EXIT_CODE, case.bot.output()
    said = f"consulguard: dead-man switch: {because}"
    assert sum(line.startswith(said) for line in case.bot.output().splitlines()) == 1, case.bot.output()


def nothing_was_done(case: Case) -> None:
    assert case.recorded() == []
    assert case.proxy.writes == []
