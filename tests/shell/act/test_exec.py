"""``exec.run`` with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from consulguard.act import ActSettings
from consulguard.model import Intent, Outcome, Result

from tests.shell.act.support import ACTIONS, closed_address, context, do, intent, look

PYTHON = os.path.realpath(sys.executable)
SETTINGS = ActSettings(allowed_commands=(PYTHON, "/bin/sleep"), kill_grace_s=0.5)

# Starts a child that ignores SIGTERM, tells both pids, and waits for ever.
DEAF = "from signal import *; signal(SIGTERM, SIG_IGN); print('deaf', flush=True); import time; time.sleep(600)"
FAMILY = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE)
child.stdout.readline()
with open(sys.argv[1] + ".new", "w") as f:
    f.write(f"{{os.getpid()}} {{child.pid}}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def command(code: str, *args: str, idempotent: bool = False, **fields: Any) -> Intent:
    code = f"exec({code!r})"  # one printable line, whatever the code is
    return intent("exec.run", {"argv": [PYTHON, "-c", code, *args], "idempotent": idempotent}, **fields)


async def run(wanted: Intent, settings: ActSettings = SETTINGS) -> Result:
    return await do(wanted, context(closed_address(), settings))


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(what: Any, within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.01)


async def test_exit_codes() -> None:
    good = await run(command("print('all well')"))
    assert (good.outcome, "all well" in good.detail) == (Outcome.DONE, True)
    bad = await run(command("import sys; sys.exit('no such unit')"))
    assert (bad.outcome, "no such unit" in bad.detail) == (Outcome.FAILED, True)
    killed = await run(command("import os; os.kill(os.getpid(), 9)"))
    assert (killed.outcome, "signal 9" in killed.detail) == (Outcome.FAILED, True)


@pytest.mark.parametrize(("idempotent", "outcome"), [(False, Outcome.UNKNOWN), (True, Outcome.RETRY)])
async def test_the_deadline_ends_the_grandchildren_too(tmp_path: Path, idempotent: bool, outcome: Outcome) -> None:
    pids = tmp_path / "pids"
    task = asyncio.create_task(run(command(FAMILY, str(pids), idempotent=idempotent, timeout_s=3.0)))
    await until(pids.exists)
    family = [int(p) for p in pids.read_text().split()]
    assert all(map(alive, family))
    assert (await task).outcome is outcome
    await until(lambda: not any(map(alive, family)))


async def test_cancelling_ends_the_grandchildren_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    task = asyncio.create_task(run(command(FAMILY, str(pids), timeout_s=60.0)))
    await until(pids.exists)
    family = [int(p) for p in pids.read_text().split()]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not any(map(alive, family)))


async def test_a_polite_command_is_only_asked_to_end(tmp_path: Path) -> None:
    told, ready = tmp_path / "told", tmp_path / "ready"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n open(sys.argv[1], 'w').close(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); open(sys.argv[2], 'w').close(); time.sleep(600)\n"
    )
    task = asyncio.create_task(run(command(code, str(told), str(ready), timeout_s=60.0)))
    await until(ready.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.exists()


async def test_a_daemon_left_behind_does_not_hold_us_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(['/bin/sleep', '30'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
    )
    started = time.monotonic()
    result = await run(command(code, str(pid), timeout_s=20.0))
    left = int(pid.read_text())
    assert result.outcome is Outcome.DONE
    assert time.monotonic() - started < 15
    assert alive(left)
    os.kill(left, 9)


async def test_the_environment_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD_X", "PYTHONPATH", "CONSUL_HTTP_TOKEN", "PAGER"):
        monkeypatch.setenv(name, "leak")
    code = "import os; print(sorted(os.environ), os.environ['CONSULGUARD_INTENT'], os.getcwd())"
    wanted = command(code)
    result = await run(wanted)
    names = ["CONSULGUARD_EPOCH", "CONSULGUARD_INTENT", "HOME", "LANG", "PATH"]
    assert str(names)[:-1] in result.detail.replace(", 'LC_CTYPE'", "")
    assert f"{wanted.id} /" in result.detail


async def test_input_is_empty_and_much_output_neither_blocks_nor_stays() -> None:
    code = "import sys; sys.stdin.read(); sys.stdout.write('x' * 5_000_000); sys.stderr.write('y' * 5_000_000)"
    result = await run(command(code, timeout_s=30.0))
    assert result.outcome is Outcome.DONE
    assert len(result.detail) < 600


async def test_a_shell_has_no_part_in_it(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    result = await run(
        command("import sys; print(sys.argv[1])", f"$(touch {trap}); `touch {trap}` | touch {trap}")
    )
    assert result.outcome is Outcome.DONE
    assert not trap.exists()
    assert "$(touch" in result.detail


async def test_only_what_is_allowed_and_nothing_anybody_may_replace(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 0\n")
    wanted = intent("exec.run", {"argv": [str(script)], "idempotent": True})
    assert (await run(wanted)).outcome is Outcome.FAILED
    allowed = ActSettings(allowed_commands=(str(script), str(tmp_path), str(tmp_path / "gone")))
    script.chmod(0o600)
    assert "cannot be started" in (await run(wanted, allowed)).detail
    script.chmod(0o757)
    assert "everybody may write" in (await run(wanted, allowed)).detail
    script.chmod(0o755)
    assert (await run(wanted, allowed)).outcome is Outcome.DONE
    for other in (tmp_path, tmp_path / "gone"):
        assert (
            await run(intent("exec.run", {"argv": [str(other)], "idempotent": True}), allowed)
        ).outcome is Outcome.FAILED
    detour = f"{tmp_path}/../{tmp_path.name}/script"
    assert (
        await run(intent("exec.run", {"argv": [detour], "idempotent": True}), allowed)
    ).outcome is Outcome.FAILED


async def test_nobody_can_say_afterwards() -> None:
    assert await look(command("pass"), context(closed_address())) is Outcome.UNKNOWN


def test_the_preview_is_the_argv_with_secrets_masked() -> None:
    params = {"argv": ["/bin/x", "--token", "abc", "$(id)"], "idempotent": True}
    assert (
        ACTIONS["exec.run"].preview(intent("exec.run", params), params)
        == "run ['/bin/x', '--token', '***', '$(id)']"
    )
