"""The real library, telling a local HTTP server through its ``json://`` plug-in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from consulguard.errors import NotifyUnavailable
from consulguard.model import OutboxRow
from consulguard.notify.apprise import AppriseNotifier, AppriseSettings

from tests.support.messages import message

NAME = "apprise:pager"


class Receiver:
    """Keeps what it was sent; answers with ``status``, or not at all while ``hold`` is not set."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self.hold = asyncio.Event()
        self.hold.set()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        await self.hold.wait()
        return web.Response(status=self.status)


@pytest.fixture
async def receiver(unused_tcp_port: int) -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield made, f"json://127.0.0.1:{unused_tcp_port}/hook-secret?cto=20&rto=20"
    made.hold.set()
    await runner.cleanup()


def row(version: int = 1, ref: dict[str, Any] | None = None, **fields: Any) -> OutboxRow:
    told = message("inc-1", version, **fields)
    return OutboxRow(channel=NAME, key=told.key, rev=version, message=told, ref=ref or {})


async def test_the_first_word_each_severity_and_every_line_are_told(receiver):
    server, url = receiver
    channel = AppriseNotifier(AppriseSettings(name=NAME), lambda: url)
    ref = await channel.deliver(row(title="pay-api: root cause"))
    assert [(g["title"], g["type"]) for g in server.got] == [("[CRITICAL] pay-api: root cause", "failure")]
    assert await channel.deliver(row(2, ref)) == ref  # an edit nobody needs to be woken for
    assert len(server.got) == 1
    ref = await channel.deliver(row(3, ref, thread=("drain: done",)))
    assert "- drain: done" in server.got[1]["message"]
    ref = await channel.deliver(row(4, ref, severity="resolved"))
    assert server.got[2]["type"] == "success"
    assert ref == {"severity": "resolved"}
    await channel.close()


async def test_what_is_not_taken_is_told_later_and_shows_no_secret(receiver, caplog, capfd):
    server, url = receiver
    server.status = 500
    channel = AppriseNotifier(AppriseSettings(name=NAME), lambda: url)
    with pytest.raises(NotifyUnavailable) as failed:
        await channel.deliver(row())
    assert "secret" not in str(failed.value)
    assert "secret" not in capfd.readouterr().err
    server.status = 200
    assert await channel.deliver(row()) == {"severity": "critical"}
    await channel.close()


@pytest.mark.parametrize("url", ["nonsense://x", "json://", "no address"])
async def test_an_address_it_does_not_understand_is_not_told(url):
    channel = AppriseNotifier(AppriseSettings(name=NAME), lambda: url)
    with pytest.raises(NotifyUnavailable):
        await channel.deliver(row())
    await channel.close()


async def test_a_hanging_delivery_holds_up_this_receiver_and_no_thread_more(receiver):
    server, url = receiver
    server.hold.clear()
    channel = AppriseNotifier(AppriseSettings(name=NAME, timeout_s=0.5), lambda: url)
    with pytest.raises(NotifyUnavailable, match="no answer"):
        await channel.deliver(row())
    with pytest.raises(NotifyUnavailable, match="still hangs"):
        await channel.deliver(row())
    assert sum(t.name.startswith("apprise") for t in threading.enumerate()) <= 1
    server.hold.set()
    await channel.close()
