"""Slacks to compare: the twin, and a stateful emulator that other people wrote (npm ``emulate``)."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from consulguard.testing import SlackTwin
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import scratch
from slack_sdk.web.async_client import AsyncWebClient

TOKEN = "xoxb-guard"
CHANNELS = ("incidents", "random")
PEOPLE = ("alice", "bob")
STARTS_WITHIN_S = 90.0
SEED = """
slack:
  team: {name: Ops, domain: ops}
  users: [{name: guard}, {name: alice, real_name: Alice}, {name: bob}]
  channels: [{name: incidents}, {name: random}]
  bots: [{name: guard}]
  tokens: [{token: xoxb-guard, type: bot, user: guard, scopes: [%s]}]
  strict_scopes: true
"""
SCOPES = ("chat:write", "channels:read", "channels:history", "users:read", "files:write")


def find_emulate() -> Path | None:
    """``$CONSULGUARD_EMULATE``, else where scripts/install-emulate.sh puts it, else None."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = Path(os.environ.get("CONSULGUARD_EMULATE") or cache / "consulguard/emulate/run")
    return found if os.access(found, os.X_OK) else None


class Emulator:
    """The emulator as a process. It listens on every interface: it has no setting for that."""

    def __init__(self, binary: Path) -> None:
        self._folder = scratch("slack-")
        (self.port,) = free_ports(1)
        (self._folder / "seed.yaml").write_text(SEED % ", ".join(SCOPES))
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary, "start", "-s", "slack", "-p", str(self.port), "--seed", self._folder / "seed.yaml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=os.environ | {"NO_COLOR": "1"},
            )
        self._wait()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    def _wait(self) -> None:
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as line:
                    line.request("POST", "/api/auth.test", headers={"Authorization": f"Bearer {TOKEN}"})
                    if line.getresponse().status == 200:
                        return
            time.sleep(0.05)
        said = (self._folder / "log").read_text(errors="replace")
        self.close()
        pytest.fail(f"the Slack emulator did not start: {said}")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    binary = find_emulate()
    if binary is None:
        sentence = "no Slack emulator: run scripts/install-emulate.sh, or set CONSULGUARD_EMULATE"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    started = Emulator(binary)
    yield started
    started.close()


@dataclass
class Workspace:
    """One of them, as Slack's own client sees it."""

    kind: str  # twin or emulator
    client: AsyncWebClient
    channels: dict[str, str]  # name -> id
    people: dict[str, str]

    @property
    def channel(self) -> str:
        return self.channels["incidents"]


@pytest.fixture(params=["twin", "emulator"])
async def workspace(request: pytest.FixtureRequest) -> AsyncIterator[Workspace]:
    """Every test twice. The emulator keeps what earlier tests posted."""
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "twin":
            twin = await stack.enter_async_context(SlackTwin(token=TOKEN, channels=CHANNELS))
            people = {name: twin.add_user(name).id for name in PEOPLE}
            api = twin.api
        else:
            api, people = request.getfixturevalue("emulator").api, {}
        client = AsyncWebClient(token=TOKEN, base_url=api, retry_handlers=[])
        listed = await client.api_call("conversations.list", data={"limit": 100})
        if not people:
            everybody = await client.api_call("users.list")
            people = {user["name"]: user["id"] for user in everybody["members"]}
        names = {channel["name"]: channel["id"] for channel in listed["channels"]}
        yield Workspace(request.param, client, names, people)
