"""Bad inputs to actions: each refused with one sentence, and nothing reached any target.

One server records what arrives, as HTTP target and as Consul; one command leaves a trace when it is run.
The same tricks written into a playbook are refused when it is loaded: ``tests/core/plan/test_plan_playbook.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from consulguard.act import ActSettings, HttpHost
from consulguard.act.http_door import place
from consulguard.model import Intent, Outcome, Result

from tests.shell.act.support import INSTANCE, context, do, intent, serve
from tests.shell.act.test_params import GOOD, UNSAFE

TRAVERSING = [
    "../../agent/leave",
    "web/../../x",
    "%2e%2e",
    "..%2f..%2fagent%2fleave",
    "//x",
    "web//x",
    "web?x=1",
    "web#x",
]
OPTIONS = [
    "--",
    "-",
    "--config-dir=/tmp",
    "-o ProxyCommand=x",
    "@file",
    "web --now",
    "$IFS",
    "web'x",
    'web"x',
    "web|x",
    "web&x",
]
NAMES = list(dict.fromkeys([*UNSAFE, *TRAVERSING, *OPTIONS]))
TRICKS = [
    "http://ok@{host}/",
    "http://{host}@ok/",
    "http://ok:x@{host}/",
    "http://ok\\@{host}/",
    "http://{host}\\.ok/",
    "http://ok#@{host}/",
    "http://ok?@{host}/",
    "http:/{host}/",
    "http:///{host}/",
    "//{host}/",
    "{host}/",
    "HTTP://{host}/",
    "http://{host}/../x",
    "http://{host}/%2e%2e/x",
    "http://{host}/a%2f..%2fb",
    "http://{host}//evil/",
    "http://{host}/\r\nX: y",
    "http://{host}/ HTTP/1.1\r\n\r\n",
    "http://{host}/#x",
    "http://{host}./",
    "http://{host} /",
    "ftp://{host}/",
    "file:///etc/passwd",
    "gopher://{host}/",
    "http+unix://%2frun%2fx.sock/",
    "http://{host}:80:80/",
    "http://${{target.node}}/",
    "http://[{host}]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://metadata.google.internal/",
]
LOOPBACKS = [
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "127.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0.0.0.0",
    "0",
    "[::]",
    "localhost",
    "127.0.0.1.",
    "[::1]",
]


class Targets:
    """``arrived``: every request line that came in; ``ran``: whether the command was run."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.arrived: list[str] = []
        self.trace = folder / "trace"
        self.command = folder / "command"
        self.command.write_text(f"#!/bin/sh\necho ran >> '{self.trace}'\n")
        self.command.chmod(0o755)

    def untouched(self) -> bool:
        return self.arrived == [] and not self.trace.exists()

    async def do(self, wanted: Intent, *hosts: HttpHost, commands: tuple[str, ...] = ()) -> Result:
        settings = ActSettings(
            allowed_hosts=hosts,
            allowed_commands=commands,
            agent_addresses={"local": self.address},
        )
        ctx = context(self.address, settings)
        async with ctx.consul:
            return await do(wanted, ctx)


@pytest.fixture
async def targets(tmp_path: Path) -> AsyncIterator[Targets]:
    async def handler(asked: web.BaseRequest) -> web.Response:
        found.arrived.append(f"{asked.method} {asked.path_qs}")
        return web.Response(text="[]")

    async with contextlib.AsyncExitStack() as stack:
        found = Targets(await stack.enter_async_context(serve(handler)), tmp_path)
        yield found


def refused(result: Result) -> None:
    """With one sentence that can be shown as it is."""
    assert result.outcome is Outcome.FAILED, result
    assert result.detail
    assert result.detail.isprintable()
    assert len(result.detail) <= 600


async def test_what_is_well_arrives(targets: Targets) -> None:
    """What all others rest on: without a trick the request comes in and the command is run."""
    host = HttpHost(url=targets.address, private=True)
    sent = intent("http.request", {"method": "POST", "url": f"{targets.address}/x", "idempotent": True})
    assert (await targets.do(sent, host)).outcome is Outcome.DONE
    command = str(targets.command)
    run = intent("exec.run", {"argv": [command], "idempotent": True})
    assert (await targets.do(run, commands=(command,))).outcome is Outcome.DONE
    assert (targets.arrived, targets.trace.exists()) == (["POST /x"], True)


@pytest.mark.parametrize("trick", TRICKS)
async def test_urls(trick: str, targets: Targets) -> None:
    """Even though the host that is really meant is allowed, and so is the one that is shown."""
    to = place(targets.address)
    url = trick.format(host=f"{to.host}:{to.port}")
    hosts = (HttpHost(url=targets.address, private=True), HttpHost(url=f"http://ok:{to.port}", private=True))
    for method in ("GET", "POST"):
        wanted = intent("http.request", {"method": method, "url": url, "idempotent": True})
        refused(await targets.do(wanted, *hosts))
    assert targets.untouched()


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_addresses_that_are_ours_in_disguise(host: str, targets: Targets) -> None:
    """Allowed by that very name, but not as private: every address it stands for is looked at."""
    url = f"http://{host}:{place(targets.address).port}"
    wanted = intent("http.request", {"method": "POST", "url": f"{url}/x", "idempotent": True})
    result = await targets.do(wanted, HttpHost(url=url))
    assert result.outcome in (Outcome.FAILED, Outcome.RETRY)  # the latter: the name does not resolve here
    assert result.detail.isprintable()
    assert targets.untouched()


BAD_ARGV: list[Any] = [
    "systemctl restart web",
    "/bin/sh -c id",
    [],
    [""],
    ["true"],
    ["./true"],
    ["~/true"],
    [["/bin/true"]],
    [1],
    None,
    {"0": "/bin/true"},
    ["{command};id"],
    ["{command} x"],
    ["{folder}/../{name}/command"],
    ["{folder}//command"],
    ["{command}\n"],
    ["{command}", "a\x00b"],
    ["{command}", "a\nb"],
    ["{command}", "\x1b[2J"],
    ["{command}", "\u202eabc"],
    ["{command}", None],
    ["{command}", "x" * 5000],
    ["{command}", *["x"] * 70],
    ["/bin/sh", "-c", "{command}"],
    ["/usr/bin/env", "{command}"],
]


@pytest.mark.parametrize("argv", BAD_ARGV, ids=repr)
async def test_commands(argv: Any, targets: Targets) -> None:
    """Only the command itself is allowed, by its one name, and with arguments that can be shown."""
    words = {"command": str(targets.command), "folder": str(targets.command.parent)}
    words["name"] = targets.command.parent.name
    filled = [a.format(**words) if isinstance(a, str) else a for a in argv] if isinstance(argv, list) else argv
    wanted = intent("exec.run", {"argv": filled, "idempotent": True})
    refused(await targets.do(wanted, commands=(words["command"],)))
    assert targets.untouched()


async def test_a_command_that_anybody_may_replace(targets: Targets) -> None:
    targets.command.chmod(0o757)
    command = str(targets.command)
    wanted = intent("exec.run", {"argv": [command], "idempotent": True})
    refused(await targets.do(wanted, commands=(command,)))
    assert targets.untouched()


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"wait", "notify"}))
@pytest.mark.parametrize("field", ["service", "node", "instance"])
async def test_names_from_the_catalog(name: str, field: str, targets: Targets) -> None:
    """No name with a meaning for a shell, a path, an option parser or the eye is ever acted upon."""
    params = GOOD[name]
    if name == "http.request":
        params = {**params, "url": f"{targets.address}/x"}
    if name == "exec.run":
        params = {**params, "argv": [str(targets.command)]}
    host = HttpHost(url=targets.address, private=True)
    for text in NAMES:
        target = msgspec.structs.replace(INSTANCE, **{field: text})
        wanted = intent(name, params, target=target)
        refused(await targets.do(wanted, host, commands=(str(targets.command),)))
    assert targets.untouched()
