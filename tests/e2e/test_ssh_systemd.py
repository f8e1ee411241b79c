"""A real unit under a real systemd hangs; the shipped playbook restarts it over a real sshd and the wrapper."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard import consulguard_exec
from consulguard.act import ActSettings
from consulguard.model import Outcome, Target
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports
from ruamel.yaml import YAML

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.playbooks.stories import PLAYBOOKS
from tests.shell.act.support import CLOCK, context, do, intent
from tests.support.sshd import Sshd
from tests.support.systemd import Machine, need_systemd
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

UNIT = "shop-web"
SYSTEMCTL = "/usr/bin/systemctl"
BACKEND = (
    "[Service]\nExecStart=/usr/bin/python3 -m http.server {port} --bind 127.0.0.1 --directory /usr/share/doc\n"
    "Restart=on-failure\nRestartSec=1\n"  # of a start that failed; a hung process does not fail
)
SSHD = "[Service]\nRuntimeDirectory=sshd\nExecStart={command}\nStandardError=append:{log}\n"


@pytest.fixture(scope="module")
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Sshd]:
    """A machine that boots the backend's unit and an sshd whose only key runs the wrapper, copied there."""
    need_systemd()
    folder = tmp_path_factory.mktemp("node")
    sshd = Sshd(folder)
    sshd.program = [shutil.copy(consulguard_exec.__file__, folder / "consulguard-exec")]
    command = " ".join(sshd.prepare())
    sshd.allow_commands([SYSTEMCTL, "restart", {"match": "shop-[a-z]+"}])
    machine = Machine(
        folder,
        {
            f"{UNIT}.service": BACKEND.format(port=port),
            "ssh-test.service": SSHD.format(command=command, log=folder / "sshd.log"),
        },
    ).open()
    try:
        sshd.wait(machine.process)
        yield sshd
    finally:
        machine.close()


def backend_pid(port: int) -> int:
    """Of the process in the container, as we see it; 0 while there is none."""
    for found in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = found.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(port).encode() in words and b"http.server" in words:
            return int(found.parent.name)
    return 0


def playbook() -> dict[str, Any]:
    """The shipped one, acting by itself and at once."""
    whole = YAML(typ="safe").load((PLAYBOOKS / "restart-instance-over-ssh.yaml").read_text())
    for key in ("tests", "escalate"):
        del whole[key]
    return {**whole, "mode": "auto", "match": {**whole["match"], "for": "1s"}}


async def register(address: str, port: int) -> None:
    check = {"CheckID": "web-1", "HTTP": f"http://127.0.0.1:{port}/", "Interval": "1s", "Timeout": "1s"}
    ttl = {"TTL": "1h", "Status": "passing"}
    async with aiohttp.ClientSession() as session:
        for name, checks in (("web-1", [check]), ("web-2", [ttl]), ("web-3", [ttl])):
            body = {"Name": "web", "ID": name, "Meta": {"consulguard-ssh-unit": UNIT}, "Checks": checks}
            async with session.put(f"{address}/v1/agent/service/register", json=body) as answer:
                assert answer.status == 200, await answer.text()


async def health(address: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{address}/v1/agent/checks") as answer:
        return str((await answer.json())["web-1"]["Status"])


def rest_of(bot: Bot) -> str:
    """Where the run is, as people are told; empty while there is none."""
    told = (dict(m.get("facts", ())).get("Run", "") for m in journal.told(bot.journal).messages.values())
    return next((text for text in told if text), "")


def kept(node: Sshd) -> set[Path]:
    """The attempts the wrapper remembers."""
    return set((node.state / "attempts").glob("*.json"))


async def test_a_unit_that_hangs_is_restarted_once(
    node: Sshd, port: int, real_consul_module: RealConsul, tmp_path: Path
) -> None:
    consul, before = real_consul_module.address, kept(node)
    await register(consul, port)
    await eventually(lambda: health(consul), lambda status: status == "passing", within_s=60)
    ssh = node.settings()
    files = {"user": ssh.user, "key_file": ssh.key_file, "known_hosts": ssh.known_hosts, "port": node.port}
    bot = Bot(tmp_path / "bot", consul, playbook(), actions={"ssh": files}, guards={"storm_min": 1000})
    bot.start()
    try:
        first = backend_pid(port)
        os.kill(first, signal.SIGSTOP)

        async def look() -> str:
            assert bot.runs, bot.output()
            return rest_of(bot)

        await eventually(look, lambda rest: rest.startswith("done"), within_s=90)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{bot.output()}\n{node.log()[-3000:]}") from None
    finally:
        await bot.stop()
    assert await health(consul) == "passing"
    assert backend_pid(port) not in (0, first)
    record = journal.read(bot.journal)
    assert [i["action"] for i in record.intents] == ["consul.maintenance", "ssh.run", "consul.maintenance"]
    assert len(kept(node) - before) == 1


async def test_a_unit_that_is_not_there_and_one_that_is_not_allowed(node: Sshd) -> None:
    target = Target(dc="dc1", service="web", node=node.node, instance="web-1")
    ctx = context("http://127.0.0.1:9", ActSettings(ssh=node.settings()), fence=lambda: 1)
    for unit, why in (("shop-nothing", "not found"), ("ssh-test", "does not hold")):
        params = {"argv": [SYSTEMCTL, "restart", unit]}
        soon = CLOCK.now() + timedelta(minutes=1)
        result = await do(
            intent("ssh.run", params, id=f"{unit}/0/1", target=target, epoch=1, expires_at=soon), ctx
        )
        assert (result.outcome, why in result.detail) == (Outcome.FAILED, True), result.detail
