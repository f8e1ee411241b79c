"""A knock at real doors on loopback: good ones, bad ones, and those that mean ill."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from consulguard.act.knock import Door, Limits, Met, knock, why_not
from consulguard.clock import SystemClock
from consulguard.model import Reaction
from consulguard.testing.ports import free_ports

CLOCK = SystemClock()
LIMITS = Limits(timeout_s=1.0, slow_s=0.4)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Counts its connections and keeps what it was sent."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.heard = b""
        self.connections = 0
        self.port = 0
        self.busy: set[asyncio.Task[Any]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if (task := asyncio.current_task()) is not None:
            self.busy.add(task)
            task.add_done_callback(self.busy.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                if self._serve is not silent:
                    self.heard += await reader.readuntil(b"\r\n\r\n")
                await self._serve(reader, writer)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    made = Server(serve)
    server = await asyncio.start_server(made, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        busy = [task for task in made.busy if task.cancel()]
        await asyncio.gather(*busy, return_exceptions=True)
        await asyncio.sleep(0)  # what is aborted is closed in the loop's next turn


def answering(body: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(body)
        await writer.drain()

    return serve


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the connection and says nothing until the other side has gone."""
    while await reader.read(1000):
        pass


async def met(port: int, kind: str = "http", limits: Limits = LIMITS, **door: Any) -> Met:
    return await knock(Door(kind=kind, **door), "127.0.0.1", port, limits, CLOCK)


# ---- tcp


async def test_a_port_that_takes_connections() -> None:
    async with listening(silent) as server:
        found = await met(server.port, "tcp")
    assert (found.how, found.reason, server.heard) == (Reaction.WELL, "", b"")
    assert 0 < found.took_s < 1


@pytest.mark.parametrize("kind", ["tcp", "http", "https", "grpc"])
async def test_a_port_nobody_listens_on(kind: str) -> None:
    (port,) = free_ports(1)
    assert (await met(port, kind)).how is Reaction.REFUSED


# ---- http


@pytest.mark.parametrize(
    ("status", "how", "reason"),
    [
        ("200 OK", Reaction.WELL, ""),
        ("404 Not Found", Reaction.WELL, ""),
        ("401 Unauthorized", Reaction.WELL, ""),
        ("429 Too Many Requests", Reaction.UNSURE, "HTTP 429"),
        ("500 Internal Server Error", Reaction.BADLY, "HTTP 500"),
        ("503 Service Unavailable", Reaction.BADLY, "HTTP 503"),
    ],
)
async def test_what_an_answer_says(status: str, how: Reaction, reason: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    async with listening(answering(head)) as server:
        found = await met(server.port, path="/deep?full=1")
    assert (found.how, found.reason) == (how, reason)
    lines = server.heard.decode().split("\r\n")
    assert lines[0] == "GET /deep?full=1 HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in lines[1:] if line}
    assert names == {"host", "connection", "user-agent", "accept", "accept-encoding"}, "no cookie, no credential"


async def test_a_redirect_is_not_followed() -> None:
    async with listening(answering(OK)) as other:
        away = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
        async with listening(answering(away.encode())) as server:
            assert (await met(server.port)).how is Reaction.WELL
        assert (server.connections, other.connections) == (1, 0)


async def test_a_late_answer_is_slow() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(OK)

    async with listening(late) as server:
        found = await met(server.port)
    assert found.how is Reaction.SLOW
    assert found.took_s >= 0.5


async def test_an_endless_body_is_not_read() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    async with listening(endless) as server:
        found = await met(server.port)
    assert found.how is Reaction.WELL
    assert sent < 16 << 20, "what the sockets between us hold, not what a second can carry"


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-Slow: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def many_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"".join(b"X-%d: %s\r\n" % (n, b"y" * 500) for n in range(100)))
        await writer.drain()


async def body_that_stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    await silent(reader, writer)


@pytest.mark.parametrize("serve", [silent, drip, body_that_stops])
async def test_who_keeps_us_waiting_is_left_after_the_timeout(serve: Serve) -> None:
    async with listening(serve) as server:
        found = await met(server.port)
    assert (found.how, found.took_s) == (Reaction.TIMEOUT, 1.0)


@pytest.mark.parametrize(
    "serve",
    [
        many_headers,
        answering(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
        answering(b"220 smtp.example ESMTP\r\n"),
        answering(b"\x00\xff" * 500),
        answering(b""),
        answering(b"HTTP/1.1 999999 No\r\n\r\n"),
    ],
    ids=["many headers", "a huge header", "another protocol", "noise", "nothing", "a strange status"],
)
@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_what_is_no_answer_is_a_bad_one(serve: Serve, kind: str) -> None:
    async with listening(serve) as server:
        found = await met(server.port, kind)
    assert found.how in (Reaction.BADLY, Reaction.TIMEOUT, Reaction.REFUSED)
    assert server.connections == 1, "it is not tried again"
    assert len(found.reason) <= 120
    assert found.reason.isprintable()


# ---- https


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ledger.internal, signed by itself; key and certificate in one file."""
    path = tmp_path_factory.mktemp("tls") / "ledger.pem"
    subject = ["-subj", "/CN=ledger.internal", "-addext", "subjectAltName=DNS:ledger.internal"]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(argv, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_must_hold_for_the_name_that_is_expected(certificate: Path) -> None:
    trust = ssl.create_default_context(cafile=str(certificate))
    trusting = Limits(timeout_s=2.0, slow_s=2.0, trust=trust)
    async with listening(answering(OK), server_tls(certificate)) as server:
        good = await met(server.port, "https", trusting, server_name="ledger.internal")
        named = await met(server.port, "https", trusting, server_name="stock.internal")
        unnamed = await met(server.port, "https", trusting)
        stranger = await met(server.port, "https", server_name="ledger.internal")
    assert good == Met(Reaction.WELL, good.took_s, "")
    for bad in (named, unnamed, stranger):
        assert bad.how is Reaction.BADLY
        assert bad.reason.startswith("TLS: ")


async def test_who_speaks_no_tls(certificate: Path) -> None:
    async with listening(answering(OK)) as server:
        assert (await met(server.port, "https")).how in (Reaction.BADLY, Reaction.TIMEOUT)


# ---- where one may knock


PRIVATE = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize("address", ["10.0.0.5", "::ffff:10.0.0.5", "fd00::5"])
def test_an_address_in_an_allowed_network(address: str) -> None:
    assert why_not(address, PRIVATE) == ""


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("127.0.0.1", PRIVATE),
        ("::1", PRIVATE),
        ("::ffff:127.0.0.1", PRIVATE),
        ("192.168.0.1", PRIVATE),
        ("93.184.216.34", PRIVATE),
        ("64:ff9b::a00:5", ("10.0.0.0/8",)),
        ("169.254.169.254", ("0.0.0.0/0",)),
        ("::ffff:169.254.169.254", ("0.0.0.0/0", "::/0")),
        ("fe80::1%eth0", ("::/0",)),
        ("100.100.100.200", ("0.0.0.0/0",)),
        ("168.63.129.16", ("0.0.0.0/0",)),
        ("fd00:ec2::254", ("::/0",)),
        ("0.0.0.0", ("0.0.0.0/0",)),
        ("224.0.0.1", ("0.0.0.0/0",)),
        ("ledger.internal", ("0.0.0.0/0",)),
        ("127.1", ("0.0.0.0/0",)),
        ("2130706433", ("0.0.0.0/0",)),
        ("", ("0.0.0.0/0",)),
        ("10.0.0.5", ()),
    ],
)
def test_an_address_nobody_may_knock_at(address: str, networks: tuple[str, ...]) -> None:
    assert why_not(address, networks)
