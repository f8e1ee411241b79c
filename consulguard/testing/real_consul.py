"""A real Consul agent as a child process, on loopback and free ports.

``ConsulAgent`` runs any agent configuration; ``RealConsul`` is the one most tests and the demo want: a single
server in production mode (never ``-dev``, whose answers are larger and slower than those of real servers).
The methods with ``async`` in front do their waiting in a thread; ``open`` and ``close`` are the same for
callers without an event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from consulguard.clock import SystemClock
from consulguard.testing.ports import free_ports

_CLOCK = SystemClock()
_MEMORY = Path("/dev/shm")
_ROOM = 1 << 30  # bytes a server's data may come to


class ConsulNotStarted(RuntimeError):
    """The agent ended or did not become ready in time; the message carries the end of its log."""


def find_binary() -> Path | None:
    """``$CONSULGUARD_CONSUL``, else ``consul`` on PATH, else the checkout's ``.cache``, else None."""
    named = os.environ.get("CONSULGUARD_CONSUL")
    if named:
        return Path(named) if os.access(named, os.X_OK) else None
    on_path = shutil.which("consul")
    if on_path:
        return Path(on_path)
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        cached = root / ".cache" / "consul" / "usr" / "bin" / "consul"
        if os.access(cached, os.X_OK):
            return cached
    return None


def scratch(prefix: str) -> Path:
    """A new folder for servers' data: in memory where there is room, for each commit waits for its disk."""
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if roomy else None))


def ask(host: str, port: int, path: str, *, token: str = "", timeout_s: float = 2.0) -> Any:
    """One blocking GET, decoded. None when the agent does not answer 200 with JSON."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"X-Consul-Token": token} if token else {})
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def wait_until(what: str, is_so: Callable[[], Any], *, within_s: float = 30.0) -> Any:
    """Poll until ``is_so`` gives something true and return that; ConsulNotStarted when the time is over."""
    deadline = _CLOCK.monotonic() + within_s
    while True:
        value = is_so()
        if value:
            return value
        if _CLOCK.monotonic() > deadline:
            raise ConsulNotStarted(f"{what}: not within {within_s:g} s")
        time.sleep(0.03)


class ConsulAgent:
    """One agent process with its own folder for configuration, data and log."""

    def __init__(self, config: dict[str, Any], *, folder: Path, binary: Path | None = None) -> None:
        found = binary or find_binary()
        if found is None:
            raise ConsulNotStarted("no consul binary: set CONSULGUARD_CONSUL, or run scripts/install-consul.sh")
        self._binary = found
        self._process: subprocess.Popen[bytes] | None = None
        self.config = config
        self.folder = folder
        self.host: str = config["client_addr"]
        self.port: int = config["ports"]["http"]

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process; 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    def launch(self) -> None:
        """Start the process and return at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "agent.json"
        config.write_text(json.dumps({**self.config, "data_dir": str(self.folder / "data")}), encoding="utf-8")
        with (self.folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binary), "agent", "-config-file", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to handle
            )
        atexit.register(self.end)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End our own child and wait for it; does nothing when it has ended."""
        atexit.unregister(self.end)
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def freeze(self) -> None:
        """Stop the process without ending it: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``freeze``."""
        self._signal(signal.SIGCONT)

    def _signal(self, what: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(what)

    def ask(self, path: str, *, token: str = "", timeout_s: float = 2.0) -> Any:
        """See the module's ``ask``, at this agent; ConsulNotStarted when its process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise ConsulNotStarted(f"the agent ended with {self._process.returncode}: {self.log_tail()}")
        return ask(self.host, self.port, path, token=token, timeout_s=timeout_s)

    def log_tail(self, size: int = 1500) -> str:
        log = self.folder / "agent.log"
        return log.read_text(encoding="utf-8", errors="replace")[-size:] if log.exists() else ""


class RealConsul:
    """A single production-mode server. ``config`` is merged over ours; ``token`` is used while waiting."""

    def __init__(
        self,
        *,
        binary: Path | None = None,
        node: str = "local",
        datacenter: str = "dc1",
        config: dict[str, Any] | None = None,
        token: str = "",
    ) -> None:
        self._binary = binary
        self._token = token
        self._node = node
        self._extra: dict[str, Any] = {"datacenter": datacenter, **(config or {})}
        self._folder: Path | None = None
        self._agent: ConsulAgent | None = None

    @staticmethod
    def binary() -> Path | None:
        """See ``find_binary``."""
        return find_binary()

    @property
    def agent(self) -> ConsulAgent:
        if self._agent is None:
            raise ConsulNotStarted("not started yet")
        return self._agent

    @property
    def address(self) -> str:
        return self.agent.address

    @property
    def node(self) -> str:
        return self._node

    def open(self) -> None:
        """Start and wait until there is a leader and the server's own node check passes."""
        self._folder = scratch("consulguard-consul-")
        atexit.register(self.close)
        for attempt in (1, 2, 3):
            self._agent = ConsulAgent(self._config(), folder=self._folder / str(attempt), binary=self._binary)
            self._agent.launch()
            try:
                self._wait_ready()
                return
            except ConsulNotStarted as error:
                self._agent.end()
                if attempt == 3 or "address already in use" not in str(error):
                    self.close()
                    raise

    def close(self) -> None:
        """End the agent and remove its folder."""
        atexit.unregister(self.close)
        if self._agent is not None:
            self._agent.end(signal.SIGTERM)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def start(self) -> Self:
        await asyncio.to_thread(self.open)
        return self

    async def stop(self) -> None:
        await asyncio.to_thread(self.close)

    async def kill(self) -> None:
        """SIGKILL; data stays for ``restart``."""
        await asyncio.to_thread(self.agent.end)

    async def restart(self) -> None:
        """Bring the server back with its data, on its port, after ``kill`` or (killing it first) while it runs."""
        await self.kill()
        self.agent.launch()
        await asyncio.to_thread(self._wait_ready)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _wait_ready(self) -> None:
        node = f"/v1/health/node/{self._node}"

        def ready() -> bool:
            if not self.agent.ask("/v1/status/leader"):
                return False
            checks = self.agent.ask(node, token=self._token) or []
            return any(c["CheckID"] == "serfHealth" and c["Status"] == "passing" for c in checks)

        wait_until("a Consul leader", ready)

    def _config(self) -> dict[str, Any]:
        http_port, server, lan, wan = free_ports(4)
        return {
            **agent_config(self._node, "127.0.0.1", http=http_port, server=server, serf_lan=lan, serf_wan=wan),
            "server": True,
            "bootstrap_expect": 1,
            **self._extra,
        }


def agent_config(node: str, address: str, **ports: int) -> dict[str, Any]:
    """What all our agents have in common; ``ports`` are Consul's names for them."""
    return {
        "node_name": node,
        "bind_addr": address,
        "client_addr": address,
        "advertise_addr": address,
        "log_level": "WARN",
        "disable_update_check": True,
        "disable_host_node_id": True,
        "leave_on_terminate": False,
        "enable_local_script_checks": False,
        "enable_central_service_config": True,
        "connect": {"enabled": True},
        "performance": {"raft_multiplier": 1},
        "ports": {"dns": -1, "https": -1, "grpc": -1, **ports},
    }
