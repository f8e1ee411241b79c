"""A real ZooKeeper ensemble of three servers, on loopback."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import scratch

JARS = Path("/usr/share/java")
LOGS = (
    '<configuration><appender name="F" class="ch.qos.logback.core.FileAppender"><file>{0}/log</file><encoder>'
    "<pattern>%d %m%n</pattern></encoder></appender>"
    '<root level="WARN"><appender-ref ref="F"/></root></configuration>'
)


class Ensemble:
    """Servers 1, 2, 3. Short ticks, so that sessions of a second or two are granted."""

    def __init__(self, *, tick_ms: int = 200) -> None:
        self._tick_ms = tick_ms
        self.folder = scratch("zookeeper-")
        ports = free_ports(9)
        self._clients = dict(zip((1, 2, 3), ports[:3], strict=True))
        self._peers = {n: (ports[2 * n + 1], ports[2 * n + 2]) for n in (1, 2, 3)}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.1:{port}" for port in self._clients.values())

    def open(self) -> None:
        atexit.register(self.close)
        for number in self._clients:
            self._configure(number)
            self.start(number)
        self.until_ready()

    def _configure(self, number: int) -> None:
        home = self.folder / str(number)
        home.mkdir()
        lines = {
            "dataDir": str(home),
            "tickTime": str(self._tick_ms),
            "initLimit": "50",
            "syncLimit": "25",
            "clientPort": str(self._clients[number]),
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "srvr",
            "minSessionTimeout": "1000",
            "maxSessionTimeout": "20000",
        }
        lines |= {f"server.{n}": f"127.0.0.1:{a}:{b}" for n, (a, b) in self._peers.items()}
        (home / "myid").write_text(str(number))
        (home / "zoo.cfg").write_text("\n".join(f"{key}={value}" for key, value in lines.items()))
        (home / "logback.xml").write_text(LOGS.format(home))

    def start(self, number: int) -> None:
        home = self.folder / str(number)
        classes = f"{home}:{JARS}/zookeeper.jar:{JARS}/*"
        lean = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        main = ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(home / "zoo.cfg")]
        with (home / "out").open("ab") as out:
            self._processes[number] = subprocess.Popen(
                ["java", *lean, "-cp", classes, *main], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def until_ready(self, within_s: float = 90.0) -> None:
        """All three serve, one of them leads."""
        deadline = time.monotonic() + within_s
        while sorted(self.role(number) for number in self._clients) != ["follower", "follower", "leader"]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"ZooKeeper did not start: {(self.folder / '1/out').read_text()[-1500:]}")
            time.sleep(0.1)

    def role(self, number: int) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self._clients[number]), 2) as line:
                line.settimeout(2)
                line.sendall(b"srvr")
                said = b""
                while chunk := line.recv(4096):
                    said += chunk
        except OSError:
            return ""
        return next((t.split()[1] for t in said.decode().splitlines() if t.startswith("Mode:")), "")

    def freeze(self, *numbers: int) -> None:
        for number in numbers:
            self._processes[number].send_signal(signal.SIGSTOP)

    def resume(self, *numbers: int) -> None:
        for number in numbers:
            self._processes[number].send_signal(signal.SIGCONT)

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def need_zookeeper() -> None:
    """Skip without it, or fail where the run says that it must be there."""
    if (JARS / "zookeeper.jar").exists() and shutil.which("java"):
        return
    sentence = "no ZooKeeper, or no Java: run scripts/install-test-tools.sh"
    if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def ensemble() -> Iterator[Ensemble]:
    """One ensemble for all tests of a worker: each uses keys of its own and leaves the servers running."""
    need_zookeeper()
    servers = Ensemble()
    try:
        servers.open()
        yield servers
    finally:
        servers.close()
