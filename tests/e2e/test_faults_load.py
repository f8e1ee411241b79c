"""Too much at once, too little memory, and people and programs that read too slowly. On the twin."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from consulguard.testing import ConsulTwin
from consulguard.testing.ports import free_ports

from tests.e2e.support.scene import Scene
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow
FLEET = {"services": 250, "instances": 20}  # one check each
CHECKS = FLEET["services"] * FLEET["instances"]
MESSAGES = 3
ROOM = 4 << 20  # bytes of address space left


def eager(scene: Scene) -> None:
    """A playbook that would act on any instance of the fleet."""
    book = scene.book("eager")
    book["match"]["matchers"] = ['service=~"svc-.*"']


async def test_five_thousand_checks_flip_at_once(tmp_path: Path, unique: str) -> None:
    """The brake, nothing done, and few messages; and when all is well again, repairs go on."""
    async with ConsulTwin() as twin, Scene(twin, tmp_path, unique) as scene:
        keys = twin.bulk(**FLEET)
        eager(scene)
        scene.book("after")
        await scene.service("after")
        scene.make_bot(guards={"storm_min": 5, "storm_cooldown": "2s"}).start()
        await scene.settled()
        await scene.until("the whole fleet", lambda: scene.view()["instances"] >= CHECKS)
        twin.flip(keys, "critical", "connection refused")
        await scene.until("the brake", lambda: scene.told("storm"))
        await scene.until("all of them seen", lambda: seen(scene) >= CHECKS)
        calm = scene.record().lines[-1].at + 3  # longer than an incident waits before it is told
        await scene.until("time for more messages", lambda: scene.record().lines[-1].at >= calm)
        assert scene.record().intents == []
        assert len(scene.record().messages) <= MESSAGES
        twin.flip(keys, "passing")
        await scene.until("the brake off", lambda: not scene.told("storm"))
        await scene.fail("after")
        await scene.until_run("after", "verifying")
        assert len(scene.record().intents) == 1


def seen(scene: Scene) -> int:
    """Checks of the fleet that the bot took in as critical."""
    found = {
        (o["target"]["node"], o["check"])
        for line in scene.record().events("Observed")
        for o in line.body["observations"]
        if o["status"] == "critical"
    }
    return len(found)


async def test_no_more_memory_in_the_middle_of_a_step(tmp_path: Path, unique: str) -> None:
    """It ends with an error, or sees nothing it would act on; the next life finds an attempt nobody knows of."""
    async with ConsulTwin() as twin, Scene(twin, tmp_path, unique, careful=False) as scene:
        keys = twin.bulk(**FLEET)
        eager(scene)
        scene.book("once", scene.post(idempotent=False, timeout="60s"))
        await scene.service("once")
        bot = scene.make_bot(guards={"storm_min": 5})
        bot.start()
        await scene.settled()
        await scene.until("the whole fleet", lambda: scene.view()["instances"] >= CHECKS)
        scene.target.answers.clear()
        await scene.fail("once")
        await scene.until("the request", lambda: scene.effects("once"))
        used = int(Path(f"/proc/{bot.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(bot.pid, resource.RLIMIT_AS, (used + ROOM, used + ROOM))
        twin.flip(keys, "critical", "x" * 2000)
        await eventually(lambda: short_of_memory(scene), bool, within_s=90)
        assert len(scene.record().intents) == 1
        await bot.kill()  # as the kernel does in the end
        twin.flip(keys, "passing")
        bot.start()
        assert "nobody knows" in await scene.until_run("once", "held")
        assert (scene.effects("once"), len(scene.record().intents)) == (1, 1)


async def test_nobody_reads(tmp_path: Path, unique: str) -> None:
    """Slack answers a byte a second, clients of the doors send and read as slowly, and the terminal not at all."""
    port = free_ports(1)[0]
    async with ConsulTwin() as twin, dripping() as slack, Scene(twin, tmp_path, unique) as scene:
        scene.book("service")
        await scene.service("service")
        token = tmp_path / "token"
        token.write_text("xoxb-nobody")
        slack_section = {"enabled": True, "channel": "incidents", "api_url": slack, "bot_token_file": str(token)}
        bot = scene.make_bot(slack=slack_section, server={"listen": f"127.0.0.1:{port}"})
        with stuffed() as stdout:
            bot.start(stdout=stdout)
            await scene.settled()
            socket = bot.journal.with_suffix(".sock")
            async with contextlib.AsyncExitStack() as clients:
                for _ in range(20):
                    await clients.enter_async_context(slow_client(asyncio.open_connection("127.0.0.1", port)))
                    await clients.enter_async_context(slow_client(asyncio.open_unix_connection(str(socket))))
                await scene.fail("service")
                await scene.until_run("service", "verifying")
                await scene.heal("service")
                await scene.until_run("service", "done")
                bot.signal(signal.SIGTERM)
                assert await bot.ended() == 0
        assert scene.effects("service") == 1


async def short_of_memory(scene: Scene) -> bool:
    return not scene.bot.runs or "MemoryError" in scene.bot.output()


@contextlib.asynccontextmanager
async def slow_client(connecting: object) -> AsyncIterator[None]:
    """A request that never gets whole."""
    reader, writer = await connecting  # type: ignore[misc]
    del reader
    writer.write(b"POST /v1/command HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    try:
        yield
    finally:
        writer.close()


@contextlib.contextmanager
def stuffed() -> object:
    """The writing end of a pipe that is full already."""
    reading, writing = os.pipe()
    try:
        size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
        os.set_blocking(writing, False)
        os.write(writing, b"x" * size)
        os.set_blocking(writing, True)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@contextlib.asynccontextmanager
async def dripping() -> AsyncIterator[str]:
    """An HTTP server that takes every request and answers a byte a second; gives its address."""
    tasks: set[asyncio.Task[None]] = set()

    async def drip(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + b"X: y\r\n" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1.0)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(drip(writer), name="drip")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
