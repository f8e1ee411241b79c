"""The health question of gRPC, put to a real HTTP/2 server; Consul's own gRPC check vouches for that server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from consulguard.act import grpc_health
from consulguard.act.knock import Door, Limits, Met, knock
from consulguard.clock import SystemClock
from consulguard.model import Reaction
from consulguard.testing import RealConsul
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from tests.shell.act.support import raw
from tests.support.waiting import eventually


class Plain(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class Health:
    """Answers with ``answer``, after ``delay_s``."""

    def __init__(self, answer: bytes | Status, delay_s: float = 0.0) -> None:
        self.answer, self.delay_s = answer, delay_s
        self.asked: list[bytes | None] = []

    async def check(self, stream: Stream[bytes, bytes]) -> None:
        self.asked.append(await stream.recv_message())
        await asyncio.sleep(self.delay_s)
        if isinstance(self.answer, Status):
            raise GRPCError(self.answer)
        await stream.send_message(self.answer)

    def __mapping__(self) -> dict[str, Handler]:
        return {"/grpc.health.v1.Health/Check": Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}


@contextlib.asynccontextmanager
async def serving(*handlers: Health) -> AsyncIterator[int]:
    server = Server(list(handlers), codec=Plain())
    await server.start("127.0.0.1", 0)
    try:
        yield server._server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def met(port: int, timeout_s: float = 1.0) -> Met:
    limits = Limits(timeout_s=timeout_s, slow_s=0.3)
    return await knock(Door(kind="grpc"), "127.0.0.1", port, limits, SystemClock())


@pytest.mark.parametrize(
    ("answer", "how", "reason"),
    [
        (b"\x08\x01", Reaction.WELL, ""),
        (b"\x08\x02", Reaction.BADLY, "NOT_SERVING"),
        (b"\x08\x00", Reaction.UNSURE, "health unknown"),
        (b"", Reaction.UNSURE, "health unknown"),
        (b"\xff" * 60_000, Reaction.UNSURE, "health unknown"),
        (Status.UNIMPLEMENTED, Reaction.UNSURE, "gRPC UNIMPLEMENTED"),
        (Status.NOT_FOUND, Reaction.UNSURE, "gRPC NOT_FOUND"),
        (Status.UNAVAILABLE, Reaction.BADLY, "gRPC UNAVAILABLE"),
        (Status.INTERNAL, Reaction.BADLY, "gRPC INTERNAL"),
    ],
)
async def test_what_an_answer_says(answer: bytes | Status, how: Reaction, reason: str) -> None:
    health = Health(answer)
    async with serving(health) as port:
        found = await met(port)
    assert (found.how, found.reason) == (how, reason)
    assert health.asked == [b""], "the server as a whole is asked for, once"


async def test_a_late_answer_is_slow_and_a_later_one_none() -> None:
    async with serving(Health(b"\x08\x01", delay_s=0.4)) as port:
        assert (await met(port)).how is Reaction.SLOW
        assert (await met(port, timeout_s=0.2)) == Met(Reaction.TIMEOUT, 0.2, "")


@pytest.mark.real
@pytest.mark.parametrize(("answer", "status", "how"), [(1, "passing", "well"), (2, "critical", "badly")])
async def test_consul_and_we_are_told_the_same(
    real_consul_module: RealConsul, unique: str, answer: int, status: str, how: str
) -> None:
    consul = real_consul_module.address
    async with serving(Health(bytes([8, answer]))) as port:
        check = {"CheckID": unique, "GRPC": f"127.0.0.1:{port}", "Interval": "200ms", "Timeout": "5s"}
        wrong = {"passing": "critical", "critical": "passing"}[status]
        body = {"Name": unique, "Port": port, "Checks": [check | {"Status": wrong}]}
        await asyncio.to_thread(raw, consul, "PUT", "/v1/agent/service/register", body)

        async def told() -> str:
            found = await asyncio.to_thread(raw, consul, "GET", f"/v1/health/checks/{unique}")
            return str(found[0]["Status"])

        await eventually(told, lambda seen: seen == status, within_s=20.0)
        assert (await met(port)).how == how
        await asyncio.to_thread(raw, consul, "PUT", f"/v1/agent/service/deregister/{unique}")


def test_the_extra_is_there_or_not() -> None:
    assert grpc_health.available()
    assert "consulguard[grpc]" in grpc_health.EXTRA
