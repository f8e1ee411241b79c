"""A real PostgreSQL server, on loopback, with its data in a temporary folder."""

from __future__ import annotations

import asyncio
import atexit
import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import scratch


def find_postgres() -> Path | None:
    """The folder of initdb, postgres and pg_basebackup: where initdb on PATH lies, else the newest of Debian's."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


class RealPostgres:
    """The server will not run as root: there it runs as the user ``postgres``."""

    def __init__(self, *, connections: int = 40) -> None:
        self._connections = connections
        self.folder = scratch("postgresql-")
        [self.port] = free_ports(1)
        self._as_user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        atexit.register(self.close)
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(data, self._as_user)
        self._run(*self._made(data))
        self.start()

    def _made(self, data: Path) -> list[str]:
        """The command that fills the folder."""
        flags = ["-D", str(data), "-A", "trust", "-U", "guard", "--no-locale", "-E", "UTF8", "--no-sync"]
        return [_binary("initdb"), *flags]

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=120, **self._user())

    def start(self) -> None:
        """Run it, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(self._connections),
            "shared_buffers": "16MB",
        }
        flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary("postgres"), "-D", str(self.folder / "data"), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._user(),
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.dsn, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(f"PostgreSQL: {(self.folder / 'log').read_text()[-1500:]}") from None
                time.sleep(0.1)

    def stop(self) -> None:
        """As in a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def _user(self) -> dict[str, str]:
        return {"user": self._as_user, "cwd": "/"} if os.geteuid() == 0 else {}

    @property
    def dsn(self) -> str:
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=guard dbname={database}"

    async def database(self, name: str) -> str:
        """A new one; how to get there."""
        await self.ask(f"CREATE DATABASE {name}")
        return self.dsn_of(name)

    async def ask(self, text: str) -> list[tuple[object, ...]]:
        def work() -> list[tuple[object, ...]]:
            with psycopg.connect(self.dsn, autocommit=True) as con:
                cursor = con.execute(text.encode())
                return cursor.fetchall() if cursor.description else []

        return await asyncio.to_thread(work)

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Standby(RealPostgres):
    """Follows another server, which is at ``port``, asynchronously, until it is promoted."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._primary = port

    def _made(self, data: Path) -> list[str]:
        where = ["-h", "127.0.0.1", "-p", str(self._primary), "-U", "guard", "-D", str(data)]
        return [_binary("pg_basebackup"), *where, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"]

    async def promote(self) -> None:
        assert await self.ask("SELECT pg_promote()") == [(True,)]


def _binary(name: str) -> str:
    folder = find_postgres()
    assert folder is not None
    return str(folder / name)


def need_postgres() -> None:
    """Skip without it, or fail where the run says that it must be there."""
    if find_postgres() is not None:
        return
    sentence = "no PostgreSQL server: run scripts/install-test-tools.sh"
    if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


@contextmanager
def served() -> Iterator[RealPostgres]:
    """A server while the block runs."""
    need_postgres()
    server = RealPostgres()
    try:
        server.open()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[RealPostgres]:
    """One server for all tests of a worker: each has a schema of its own."""
    with served() as server:
        yield server


@pytest.fixture
def schema() -> str:
    """A schema nobody else uses."""
    return f"s{uuid.uuid4().hex[:10]}"
