"""The command line as its own process, forked from one that has imported it: a start costs a second else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.zygote import Forked

DRAIN = """
name: drain
mode: auto
match: {role: root_cause, scope: instance, states: [critical], for: 30s, matchers: ['service=~"[abc]"']}
steps:
  - name: drain
    uses: consul.maintenance
    with: {enable: true, reason: "consulguard ${incident.id}"}
    undo: {uses: consul.maintenance, with: {enable: false}}
verify: {within: 60s, target: {passing_for: 2}}
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs verbs with a configuration in a folder of its own; nothing of our environment gets through."""

    def __init__(self, folder: Path, address: str = "http://127.0.0.1:1", **config: Any) -> None:
        self.folder = folder
        (folder / "playbooks").mkdir(exist_ok=True)
        self.book("drain", DRAIN)
        self.config = folder / "c.yaml"
        given = {"consul": {"http_addr": address}, "journal": {"path": "state/journal.sqlite"}, **config}
        self.config.write_text(json.dumps(given))
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": "tester", "LANG": "C.UTF-8"}

    def book(self, name: str, text: str) -> Path:
        path = self.folder / "playbooks" / f"{name}.yaml"
        path.write_text(text)
        return path

    def __call__(self, *args: str, stdin: str = "", **env: str) -> Done:
        with tempfile.TemporaryDirectory() as name:
            given, out, err = (Path(name) / what for what in ("in", "out", "err"))
            given.write_text(stdin)
            code = self.start(*args, out=out, err=err, stdin=given, **env).wait()
            told = Done(code, out.read_bytes().decode(), err.read_bytes().decode())
        assert "Traceback" not in told.err, told.err
        return told

    def start(self, *args: str, out: Path, err: Path, stdin: Path = Path(os.devnull), **env: str) -> Forked:
        return Forked(args, self.env | env, out, err=err, stdin=stdin, cwd=self.folder)

    def with_config(self, *args: str, **more: str) -> Done:
        return self(*args, "-c", str(self.config), **more)

    async def aside(self, *args: str, **more: str) -> Done:
        """``with_config`` while this event loop goes on serving."""
        return await asyncio.to_thread(self.with_config, *args, **more)

    def argv(self, *args: str) -> list[str]:
        """For what has to be a process of its own from the beginning."""
        return [sys.executable, "-m", "consulguard", *args]


def send(address: str, method: str, path: str, body: Any = None, token: str = "") -> Any:
    """One request to Consul; anything but a 200 is an error."""
    headers = {"X-Consul-Token": token} if token else {}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/v1{path}", data, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=15) as answer:
        text = answer.read()
        return json.loads(text) if text.strip() else None


def register(address: str, name: str, status: str = "passing", **more: Any) -> None:
    """Instance ``<name><number>`` at the agent, with a TTL check and a sidecar."""
    number, token = more.pop("number", 1), more.pop("token", "")
    calls = [{"DestinationName": c, "LocalBindPort": 20_000 + i} for i, c in enumerate(more.pop("calls", ()))]
    alias = {"Name": "alias", "AliasService": f"{name}{number}"}
    body = {
        "Name": name,
        "ID": f"{name}{number}",
        "Port": 8000 + number,
        "Check": {"CheckID": f"service:{name}{number}", "TTL": "3600s", "Status": status},
        "Connect": {"SidecarService": {"Checks": [alias], "Proxy": {"Upstreams": calls}}},
        **more,
    }
    send(address, "PUT", "/agent/service/register", body, token)


def register_mesh(address: str, token: str = "") -> None:
    """a -> b -> c; c1 is critical, c2 and c3 pass; w, which nobody calls, warns."""
    register(address, "a", calls=["b"], token=token)
    register(address, "b", calls=["c"], token=token)
    for number, status in ((1, "critical"), (2, "passing"), (3, "passing")):
        register(address, "c", status, number=number, token=token)
    register(address, "w", "warning", token=token)
    wait_for_aliases(address, token)


def checks(address: str, token: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = send(address, "GET", "/health/state/any", token=token)
    return found


def wait_for_aliases(address: str, token: str = "", within_s: float = 120.0) -> None:
    """An alias check starts critical and without a word; the catalog stands still once each has looked."""
    end = time.monotonic() + within_s
    while any(c["Type"] == "alias" and not c["Output"] for c in checks(address, token)):
        assert time.monotonic() < end, "an alias check has not looked"
        time.sleep(0.1)
