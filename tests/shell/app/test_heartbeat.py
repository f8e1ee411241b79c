"""The outward half of the dead-man switch: calls while all is well, and a URL that nobody gets to see."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from consulguard.config import load, settings
from consulguard.errors import ConfigError
from consulguard.serve import Health, Heartbeat, Metrics
from structlog.testing import capture_logs

from tests.shell.consulapi.stub import Stub, answering
from tests.support.waiting import eventually

SECRET = "hush-7f3a"


async def count(stub: Stub) -> int:
    return len(stub.seen)


class Beating:
    def __init__(self, url: str, *, healthy: bool = True, method: str = "GET") -> None:
        self.healthy = healthy
        beat = Heartbeat(lambda: url, method=method, every_s=0.05, healthy=lambda: self.healthy)
        self._beat = beat

    async def __aenter__(self) -> Beating:
        self._task = asyncio.create_task(self._beat.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_it_is_called_again_and_again(method: str) -> None:
    async with Stub(answering()) as stub, Beating(f"{stub.address}/{SECRET}", method=method):
        await eventually(lambda: count(stub), lambda n: n >= 3)
        assert {(r.method, r.path) for r in stub.seen} == {(method, f"/{SECRET}")}


async def test_only_while_all_is_well() -> None:
    async with Stub(answering()) as stub, Beating(stub.address) as beating:
        await eventually(lambda: count(stub), bool)
        beating.healthy = False
        await asyncio.sleep(0.1)  # one may be under way
        before = len(stub.seen)
        await asyncio.sleep(0.3)
        assert len(stub.seen) == before
        beating.healthy = True
        await eventually(lambda: count(stub), lambda n: n > before)


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_a_refusal_is_logged_without_the_url_and_tried_again(status: int) -> None:
    headers = {"Location": "/elsewhere"}
    with capture_logs() as logs:
        async with Stub(answering(status=status, headers=headers)) as stub, Beating(f"{stub.address}/{SECRET}"):
            await eventually(lambda: count(stub), lambda n: n >= 2)
            assert all(r.path != "/elsewhere" for r in stub.seen)
    assert logs[0]["status"] == status
    assert SECRET not in str(logs)


@pytest.mark.parametrize("url", [f"http://127.0.0.1:1/{SECRET}", f"http://[::1/{SECRET}"])
async def test_nobody_there_is_logged_without_the_url(url: str) -> None:
    with capture_logs() as logs:
        async with Beating(url):

            async def look() -> int:
                return len(logs)

            await eventually(look, lambda n: n >= 2)
    assert SECRET not in str(logs)


@pytest.mark.parametrize("text", ["ftp://x/" + SECRET, SECRET, "http://", "http://[::1/" + SECRET])
def test_a_file_that_holds_no_url_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "url").write_text(text)
    (tmp_path / "url").chmod(0o600)
    (tmp_path / "c.yaml").write_text("notify: {heartbeat_url_file: url}\n")
    with pytest.raises(ConfigError) as refused:
        settings.heartbeat_url(load(str(tmp_path / "c.yaml"), env={}))
    assert SECRET not in str(refused.value)


def test_the_metrics_say_when_the_loop_last_turned() -> None:
    health = Health(
        alive=True,
        turned_at=1_767_225_600.5,
        ready=True,
        leader=True,
        view_trusted=True,
        incidents={},
        runs=0,
        storm=False,
        paused=False,
    )
    lines = Metrics().expose(health).decode().splitlines()
    assert "consulguard_up 1.0" in lines
    assert "consulguard_heartbeat_timestamp_seconds 1.7672256005e+09" in lines
