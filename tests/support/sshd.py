"""A real sshd on loopback whose only key may run only ``consulguard-exec`` (or, without it, anything)."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import asyncssh
import pytest
from consulguard import consulguard_exec
from consulguard.act import SshSettings
from consulguard.testing.ports import free_ports

# What the tests let run on the target. It notes each run durably; then it does as it is told.
_EFFECT = """#!{python} -IS
import os, subprocess, sys, time
with open({record!r}, "a") as out:
    out.write(os.environ.get("CONSULGUARD_INTENT", "-") + " " + " ".join(sys.argv[1:]) + "\\n")
    out.flush()
    os.fsync(out.fileno())
how = sys.argv[1] if len(sys.argv) > 1 else ""
if how == "fails":
    sys.exit("no such unit")
if how == "talks":
    sys.stdout.write("x" * 1_000_000)
    sys.stderr.write("y" * 1_000_000)
if how == "shows":
    print(sorted(os.environ), os.getcwd(), sys.argv[2:])
if how == "waits":
    while not os.path.exists({gate!r}):
        time.sleep(0.02)
if how == "hangs":
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-ISc", deaf], stdout=subprocess.PIPE)
    child.stdout.readline()
    with open({pids!r} + ".new", "w") as out:
        out.write(str(os.getpid()) + " " + str(child.pid))
    os.rename({pids!r} + ".new", {pids!r})
    time.sleep(600)
"""


def find_sshd() -> str | None:
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def need_sshd() -> str:
    """Skip without an sshd, or fail where the run says that it must be there."""
    found = find_sshd()
    if found is None:
        sentence = "no sshd: run scripts/install-test-tools.sh"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


class Sshd:
    """``node`` is the Consul name under which known_hosts has the server's key."""

    def __init__(self, folder: Path, *, wrapper: bool = True, node: str = "local") -> None:
        self.folder, self.node, self.wrapper = folder, node, wrapper
        self.port = free_ports(1)[0]
        self.effect = str(folder / "effect")
        self.record, self.gate, self.pids = (folder / name for name in ("record", "gate", "pids"))
        self.state, self.allow = folder / "state", folder / "allow.json"
        self.known_hosts = folder / "known_hosts"
        self.program = [sys.executable, "-IS", consulguard_exec.__file__]
        self._log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None

    # ---- life

    def prepare(self) -> list[str]:
        """Write all it needs; the command that starts it."""
        self._make_keys()
        self.fresh()
        self.known_hosts.write_text(f"{self.node} {self.public('host')}")
        text = _EFFECT.format(
            python=sys.executable, record=str(self.record), gate=str(self.gate), pids=str(self.pids)
        )
        Path(self.effect).write_text(text)
        Path(self.effect).chmod(0o755)
        (self.folder / "authorized_keys").write_text(f"{self._limits()}{self.public('client')}")
        (self.folder / "sshd_config").write_text(self._config())
        return [need_sshd(), "-f", str(self.folder / "sshd_config"), "-D", "-e"]

    def open(self) -> Self:
        command = self.prepare()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait(self._process)
        return self

    def _make_keys(self) -> None:
        keygen = ["ssh-keygen", "-q"]
        for name in ("host", "client", "other", "ca"):
            whole = [*keygen, "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(whole, check=True, timeout=60)
        ca, host = str(self.folder / "ca"), str(self.folder / "host.pub")
        subprocess.run([*keygen, "-s", ca, "-I", "test", "-h", "-n", self.node, host], check=True, timeout=60)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Until it speaks; ``process`` is what must be alive for that."""
        end = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
            assert process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)

    def _config(self) -> str:
        lines = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": self.folder / "host",
            "HostCertificate": self.folder / "host-cert.pub",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "PidFile": self.folder / "sshd.pid",
            "UsePAM": "no",
            "StrictModes": "no",  # the folder is below one that everybody may write
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "MaxStartups": "100",
            "LogLevel": "VERBOSE",
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())

    def _limits(self) -> str:
        if not self.wrapper:
            return "restrict "
        return f'restrict,command="{self.forced}" '

    @property
    def forced(self) -> str:
        """The wrapper's command line."""
        words = [*self.program, "--allow", self.allow, "--state", self.state]
        return shlex.join(map(str, words))

    # ---- what it knows, and what happened

    def public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text()

    def allow_commands(self, *commands: list[Any]) -> None:
        self.allow.write_text(json.dumps({"commands": commands}))
        self.allow.chmod(0o644)

    def settings(self, **fields: Any) -> SshSettings:
        given = {
            "user": getpass.getuser(),
            "key_file": str(self.folder / "client"),
            "known_hosts": str(self.known_hosts),
            "hosts": {self.node: ("127.0.0.1", self.port)},
            "wrapper": self.wrapper,
            "connect_timeout_s": 20.0,
        }
        return SshSettings(**(given | fields))

    def effects(self) -> list[str]:
        """One line for each time the command ran: its attempt id, or - without the wrapper, and its arguments."""
        return self.record.read_text().splitlines() if self.record.exists() else []

    def fresh(self) -> None:
        """As if nothing had happened yet."""
        for path in (self.record, self.gate, self.pids):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.state, ignore_errors=True)
        commands = ([self.effect], [self.effect, {"match": "[a-z]+"}], [self.effect, "shows", {"match": ".*"}])
        self.allow_commands(*commands)

    def connections(self) -> int:
        return self.log().count("Connection from ")

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


@asynccontextmanager
async def mute_ssh(folder: Path) -> AsyncIterator[SshSettings]:
    """A server that takes every key and every command and answers none; who asks for a status is sent away."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    over = asyncio.Event()

    class Anybody(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async def wait(process: asyncssh.SSHServerProcess[str]) -> None:
        if "status" not in (process.command or ""):
            await over.wait()
        process.exit(0)

    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[key], server_factory=Anybody, process_factory=wait, config=None
    )
    key.write_private_key(folder / "key")
    (folder / "key").chmod(0o600)
    (folder / "known").write_bytes(b"local " + key.export_public_key())
    try:
        yield SshSettings(
            user="anybody",
            key_file=str(folder / "key"),
            known_hosts=str(folder / "known"),
            hosts={"local": ("127.0.0.1", server.get_port())},
        )
    finally:
        over.set()
        server.close()
        await server.wait_closed()


class Cable:
    """A TCP proxy in front of a port, to be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Both ends see a reset, now."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, back]
        for pair in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._copy(*pair))
            self._tasks.add(task)

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()
