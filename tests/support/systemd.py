"""A machine with a real systemd as PID 1: a container over this machine's own files, changes go to memory.

Nothing is downloaded or unpacked. The network is ours: what listens there on loopback listens here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import pytest

_BOOT = """set -e
mount -t tmpfs tmpfs {memory}
mkdir {memory}/upper {memory}/work
mount -t overlay overlay -o lowerdir=/,upperdir={memory}/upper,workdir={memory}/work {root}
exec systemd-nspawn --quiet --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off \
  --machine={name} --directory={root} --bind={folder} --bind-ro={units}:/run/systemd/system \
  --console=pipe --boot systemd.unit=test.target
"""
_MAY_MOUNT = """set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
"""
_TARGET = "[Unit]\nRequires=basic.target\nAfter=basic.target\nWants={wants}\n"


def need_systemd() -> None:
    """Skip where none can boot, or fail where the run says that it must."""
    missing = [name for name in ("systemd-nspawn", "unshare") if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        sentence = f"no systemd in a container without {' and '.join(missing)}: run scripts/install-test-tools.sh"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    tried = subprocess.run(["unshare", "--mount", "bash", "-c", _MAY_MOUNT], check=False, capture_output=True)
    if tried.returncode:
        # The next best thing is a command's own process under a real sshd: tests/shell/act/test_ssh_real.py.
        pytest.skip("no container can boot: this sandbox does not let root mount an overlay")


class Machine:
    """``units``: file name to text, all of them started. ``folder`` is at the same place inside."""

    def __init__(self, folder: Path, units: dict[str, str]) -> None:
        self._folder, self._units = folder, units
        self.process: subprocess.Popen[bytes]

    def open(self) -> Self:
        inner = {name: self._folder / name for name in ("memory", "root", "units")}
        for path in inner.values():
            path.mkdir()
        for name, text in self._units.items():
            (inner["units"] / name).write_text(text)
        (inner["units"] / "test.target").write_text(_TARGET.format(wants=" ".join(self._units)))
        places = {name: shlex.quote(str(path)) for name, path in inner.items()}
        script = _BOOT.format(folder=shlex.quote(str(self._folder)), name=f"cg-test-{os.getpid()}", **places)
        with (self._folder / "boot.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def close(self) -> None:
        """Power off; what was mounted goes with the process."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(15)

    def log(self) -> str:
        return (self._folder / "boot.log").read_text(errors="replace")
