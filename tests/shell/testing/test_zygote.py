"""What was forked is watched by a process of its own, and that must outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell.cli.support import Cli

WITHIN_S = 30.0
CALLER = """
import os, signal, sys, time
from pathlib import Path
from tests.support.zygote import Forked

given = [Path(name) for name in sys.argv[1:]]
lives = [Forked(["run", "-c", str(path)], dict(os.environ), path.with_suffix(".log")) for path in given]
lives[1].send_signal(signal.SIGSTOP)
while not given[0].with_name("state").joinpath("journal.sock").exists():
    time.sleep(0.02)
told = (signal.SIGTERM, signal.SIGINT)
signal.pthread_sigmask(signal.SIG_BLOCK, told)
print("ready", flush=True)
signal.sigwait(told)
lives[1].kill()
print(*(life.wait(10.0) for life in lives), flush=True)
"""


@pytest.mark.parametrize("said", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_leaves_somebody_to_tell_how_lives_have_ended(
    tmp_path: Path, said: signal.Signals
) -> None:
    folders = [tmp_path / name for name in ("asked", "stopped")]
    for folder in folders:
        folder.mkdir()
    configs = [str(Cli(folder, playbooks={"allow_empty": True}).config) for folder in folders]
    command = [sys.executable, "-c", CALLER, *configs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as caller:
        try:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "ready\n"
            os.killpg(caller.pid, said)
            told, _ = caller.communicate(timeout=WITHIN_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(caller.pid, signal.SIGKILL)
    assert told.split() == ["0", str(-signal.SIGKILL)]
