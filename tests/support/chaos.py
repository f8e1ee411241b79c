"""A TCP proxy that fails as networks do: silence, RST, half-close, delay, a cut answer, a request twice."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

CHUNK = 65536


@dataclass(frozen=True)
class Fault:
    """``silent_*``: bytes of that direction stay on the way until the fault is over, and nobody gets an end."""

    silent_requests: bool = False
    silent_answers: bool = False
    reset: bool = False  # both ends get an RST at once; a new connection when it sends something, which is lost
    half_close: bool = False  # in place of the answer the client sees its end; the request gets through
    delay_s: float = 0.0  # every chunk comes that much later
    truncate: int = -1  # so many bytes of the answer, then its end
    twice: bool = False  # what the client sends reaches the target on two connections
    unacknowledged: bool = False  # packets of connections that stand are dropped: not even TCP hears of them


NONE = Fault()
BLACKHOLE = Fault(silent_requests=True, silent_answers=True)
LOST_ANSWERS = Fault(silent_answers=True)
RESET = Fault(reset=True)
HALF_CLOSE = Fault(half_close=True)
TWICE = Fault(twice=True)
GONE = Fault(unacknowledged=True)
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # of Linux; Python has no names for them
_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
_DROP = struct.pack("HL", 1, ctypes.addressof(_NOTHING))


class Chaos:
    """In front of ``http://host:port``; ``set`` counts for connections that stand, too."""

    def __init__(self, target: str, fault: Fault = NONE) -> None:
        self._target = ("", 0)
        self.point_at(target)
        self._fault = fault
        self._changed = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0
        self.heard: Callable[[bytes], None] = lambda chunk: None  # gets what clients send, when it comes

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def set(self, fault: Fault) -> None:
        self._fault = fault
        self._changed.set()
        self._changed = asyncio.Event()
        for writer in self._open:
            if fault.reset:
                _reset(writer)
            else:
                _drop(writer, fault.unacknowledged)

    def point_at(self, target: str) -> None:
        """New connections go there."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    # ---- one connection

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer), name="chaos")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self._keep(writer, stack)
            with contextlib.suppress(OSError):
                targets = [await self._connect(stack) for _ in range(2 if self._fault.twice else 1)]
                requests = self._requests(reader, [t[1] for t in targets])
                tasks = [asyncio.ensure_future(t) for t in (requests, self._answers(targets[0][0], writer))]
                try:
                    await asyncio.gather(*tasks)
                finally:
                    for task in tasks:
                        task.cancel()

    async def _connect(
        self, stack: contextlib.AsyncExitStack
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._target)
        self._keep(writer, stack)
        return reader, writer

    def _keep(self, writer: asyncio.StreamWriter, stack: contextlib.AsyncExitStack) -> None:
        self._open.add(writer)
        stack.callback(self._open.discard, writer)
        stack.callback(writer.close)

    async def _requests(self, reader: asyncio.StreamReader, targets: list[asyncio.StreamWriter]) -> None:
        while chunk := await reader.read(CHUNK):
            self.heard(chunk)
            await self._way(answers=False)
            if self._fault.reset:
                for writer in self._open:
                    _reset(writer)
                return
            for target in targets:
                target.write(chunk)
                await target.drain()
        await self._way(answers=False)
        for target in targets:
            target.write_eof()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._way(answers=True)
            fault = self._fault
            if fault.half_close:
                break
            writer.write(chunk if fault.truncate < 0 else chunk[: fault.truncate])
            await writer.drain()
            if fault.truncate >= 0:
                break
        await self._way(answers=True)
        writer.close()

    async def _way(self, *, answers: bool) -> None:
        """As long as it takes to get through."""
        await asyncio.sleep(self._fault.delay_s)
        while self._fault.silent_answers if answers else self._fault.silent_requests:
            await self._changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _drop(writer: asyncio.StreamWriter, drop: bool) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # closed, or nothing to detach
            sock.setsockopt(socket.SOL_SOCKET, *((SO_ATTACH_FILTER, _DROP) if drop else (SO_DETACH_FILTER, 0)))
