"""Where a process stops when it is told to."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.support.waiting import eventually

CHILD = """
from consulguard.app.failpoints import Failpoints
point = Failpoints({!r})
for number in (1, 2, 3):
    point("elsewhere")
    point("here")
    print(number, flush=True)
"""


class Child:
    def __init__(self, spec: str) -> None:
        words = [sys.executable, "-c", CHILD.format(spec)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    async def stopped(self) -> None:
        async def state() -> str:
            return psutil.Process(self.process.pid).status()

        await eventually(state, lambda seen: seen == psutil.STATUS_STOPPED, within_s=60.0)

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    started = Child(request.param)
    yield started
    started.process.kill()
    started.process.communicate()


@pytest.mark.parametrize("child", ["here:stop:2"], indirect=True)
async def test_a_number_is_the_passing_at_which_it_happens(child: Child) -> None:
    assert child.said() == "1"
    await child.stopped()
    child.process.send_signal(signal.SIGCONT)
    assert (child.said(), child.said(), child.process.wait()) == ("2", "3", 0)


@pytest.mark.parametrize("child", ["here:stop:*"], indirect=True)
async def test_a_star_is_each_passing(child: Child) -> None:
    for number in ("1", "2", "3"):
        await child.stopped()
        child.process.send_signal(signal.SIGCONT)
        assert child.said() == number
    assert child.process.wait() == 0
