"""One service, one check, one playbook with one action kind, and all that records what is done to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Self

import aiohttp
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import ConsulAgent, agent_config

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.e2e.support.people import PEOPLE, agree
from tests.e2e.support.proxy import RecordingProxy
from tests.e2e.support.receiver import Receiver, make_command, recorded
from tests.support.sshd import Sshd
from tests.support.waiting import eventually

HTTP = ("http.request, idempotent", "http.request, not idempotent")
EXEC = ("exec.run, idempotent", "exec.run, not idempotent")
CONSUL = (
    "consul.maintenance",
    "consul.service_resolver",
    "consul.service_splitter",
    "consul.kv_put",
    "consul.intention",
)
REPEATABLE = (*CONSUL, HTTP[0], EXEC[0])
ONCE = (HTTP[1], EXEC[1])
SSH = "ssh.run, asked afterwards"
DESTRUCTIVE = ("consul.deregister", "consul.force_leave")
NOWHERE = ("wait", "notify")
REST_S = 75.0
OVER = ("done", "held", "failed")


class Case:
    """``name`` is the service's, its only instance's and its check's.

    ``undo``: nothing gets better, so the playbook takes back what it did. ``sections``: of the configuration.
    """

    def __init__(
        self, kind: str, consul: RealConsul, folder: Path, name: str, *, undo: bool = False, **sections: Any
    ) -> None:
        self.kind = kind
        self.action, _, flavour = kind.partition(", ")
        self.repeatable = flavour not in ("not idempotent", "asked afterwards")
        self.undo = undo
        self._healed = False
        self._ssh: dict[str, Any] = {}
        self.name = name
        self._root = name
        self._agent: ConsulAgent | None = None
        self._consul = consul
        self._sections = sections
        self._folder = folder
        self.recording = folder / "recording"
        self._stack = contextlib.AsyncExitStack()
        self.bot: Bot

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            self.proxy = await stack.enter_async_context(RecordingProxy(self._consul.address))
            self.proxy.note = lambda: self.record().open_attempts
            self._folder.mkdir(parents=True, exist_ok=True)
            careful = self.repeatable
            receiver = await stack.enter_async_context(Receiver(self.recording, self._journaled, careful=careful))
            self._receiver = receiver.address
            self._command = make_command(
                self._folder / "restart",
                self.recording,
                self._folder / "bot/state/journal.sqlite",
                careful=careful,
            )
            if self.kind == SSH:
                self._ssh = self._open_sshd(stack)
            await self._register(stack)
            self.bot = Bot(
                self._folder / "bot",
                self.proxy.address,
                self._playbook(),
                actions=self._allowed(),
                guards={"storm_min": 1000},  # other cases fail on the same Consul at the same time
                correlate={"group_min": 1000},
                **self._sections,
            )
            stack.push_async_callback(self.bot.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # ---- what happens

    async def fail(self) -> None:
        """Its check, or the agent of the node it is on. What is destructive two people agree to."""
        if self._agent is not None:
            await asyncio.to_thread(self._agent.end)
        else:
            await self._call("PUT", f"/v1/agent/check/fail/{self.name}")
        for person in PEOPLE if self.action in DESTRUCTIVE else ():
            await agree(self.bot, self._root, person)

    async def heal(self) -> None:
        await self._call("PUT", f"/v1/agent/check/pass/{self.name}")

    async def comes_to_rest(self) -> None:
        """Until the run is over. What was repaired passes again as soon as somebody looks whether it does."""
        died = await self.died_or_came_to_rest()
        assert not died, self.bot.output()

    async def died_or_came_to_rest(self) -> bool:
        """Whether the bot died, at its fail-point, before the run was over."""

        async def look() -> str:
            run = self.rest().partition(" ")[0]
            if run == "verifying" and not self._healed and not self.undo:
                self._healed = True
                await self.heal()
            return run if run in OVER else "" if self.bot.runs else "died"

        try:
            ended = await eventually(look, bool, within_s=REST_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.bot.output()}") from None
        if ended == "died":
            await self.bot.died()
        return ended == "died"

    # ---- what was seen

    def record(self) -> journal.Record:
        return journal.read(self.bot.journal)

    def rest(self) -> str:
        """Where the run is, as people are told."""
        return journal.told(self.bot.journal).fact(self._root, "Run")

    def recorded(self) -> list[dict[str, Any]]:
        return recorded(self.recording)

    async def left_behind(self) -> Any:
        """What the first step of a Consul action left in Consul; None when nothing is."""
        if self.action == "consul.maintenance":
            checks = await self._call("GET", "/v1/agent/checks")
            return checks.get(f"_service_maintenance:{self.name}")
        if self.action == "consul.kv_put":
            return await self._call("GET", f"/v1/kv/flags/{self.name}", none_on=404)
        if self.action == "consul.intention":
            rows = await self._call("GET", "/v1/connect/intentions")
            return next((r for r in rows if r["DestinationName"] == self.name), None)
        kind = self.action.removeprefix("consul.").replace("_", "-")
        return await self._call("GET", f"/v1/config/{kind}/{self.name}", none_on=404)

    def _journaled(self, attempt: str) -> bool:
        return attempt in self.record().attempts

    # ---- the stage

    async def _join(self, stack: contextlib.AsyncExitStack) -> None:
        """A node of its own, with the service on it: its agent's death is the failure."""
        http, serf = free_ports(2)
        config = agent_config(self.name, "127.0.0.1", http=http, serf_lan=serf, serf_wan=-1)
        lan = f"127.0.0.1:{self._consul.agent.config['ports']['serf_lan']}"
        given = {**config, "retry_join": [lan], "retry_interval": "1s", "datacenter": "dc1"}
        self._agent = ConsulAgent(given, folder=self._folder / "agent")
        stack.callback(self._agent.end)
        self._agent.launch()
        body = {"Name": self.name, "Port": 1}

        async def registered() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                url = f"http://127.0.0.1:{http}/v1/agent/service/register"
                async with self._session.put(url, json=body) as answer:
                    return answer.status == 200 and bool(
                        await self._call("GET", f"/v1/catalog/service/{self.name}")
                    )
            return False

        await eventually(registered, bool, within_s=60.0)

    async def _register(self, stack: contextlib.AsyncExitStack) -> None:
        if self.action == "consul.force_leave":
            await self._join(stack)
            return
        check = {"CheckID": self.name, "Name": "ttl", "TTL": "1h", "Status": "passing"}
        if self.action != "consul.deregister":
            stack.push_async_callback(self._call, "PUT", f"/v1/agent/service/deregister/{self.name}")
        await self._call("PUT", "/v1/agent/service/register", {"Name": self.name, "Port": 1, "Checks": [check]})
        if self.action == "consul.service_splitter":
            for body in (
                {"Kind": "service-defaults", "Name": self.name, "Protocol": "http"},
                {
                    "Kind": "service-resolver",
                    "Name": self.name,
                    "Subsets": {"v1": {"Filter": "Service.Meta.v == 1"}},
                },
            ):
                await self._call("PUT", "/v1/config", body)

    def _open_sshd(self, stack: contextlib.AsyncExitStack) -> dict[str, Any]:
        """How to reach an sshd of this case's own, whose key runs the wrapper."""
        folder = self._folder / "ssh"
        folder.mkdir()
        sshd = Sshd(folder, node=self._consul.node).open()
        stack.callback(sshd.close)
        sshd.allow_commands([self._command])
        ssh = sshd.settings()
        return {"user": ssh.user, "key_file": ssh.key_file, "known_hosts": ssh.known_hosts, "port": sshd.port}

    def _allowed(self) -> dict[str, Any]:
        return {
            "ssh": self._ssh,
            "agents": {"addresses": {self._consul.node: self.proxy.address}},
            "http": {"hosts": {"receiver": {"url": self._receiver, "private": True}}},
            "exec": {"allowed_commands": [self._command]},
        }

    def _playbook(self) -> dict[str, Any]:
        whole = self.action in CONSUL[1:]
        playbook = {
            "name": "repair",
            "mode": "auto",
            "match": {
                "scope": "service" if whole else "instance",
                "for": "1s",
                "matchers": [f'service="{self.name}"'],
            },
            "steps": self._steps(),
            "verify": {"within": "1s" if self.undo else "30s", "target": {"passing_for": 1}},
            "on_failure": "undo" if self.undo else "hold",
        }
        if self.action in DESTRUCTIVE:
            del playbook["verify"]
            playbook |= {"mode": "approve", "approval": {"approvers": {"users": list(PEOPLE)}, "count": 2}}
        if self.action == "consul.force_leave":
            playbook["match"] |= {"scope": "node", "matchers": [f'node="{self.name}"']}
        if self.undo:
            playbook["steps"][0]["undo"] = {"uses": self.action}
        return playbook

    def _steps(self) -> list[dict[str, Any]]:
        flag = {"idempotent": self.repeatable}
        params: dict[str, dict[str, Any]] = {
            "consul.maintenance": {"enable": True, "reason": "for ${incident.id}"},
            "consul.service_resolver": {"connect_timeout": "7s"},
            "consul.service_splitter": {
                "splits": [{"weight": 100, "service": self.name, "service_subset": "v1"}],
            },
            "consul.kv_put": {"key": f"flags/{self.name}", "value": "off"},
            "consul.intention": {"source": "batch"},
            "http.request": {"method": "POST", "url": f"{self._receiver}/restart", **flag},
            "exec.run": {"argv": [self._command], **flag},
            "ssh.run": {"argv": [self._command]},
            "wait": {"seconds": 1},
            "notify": {"text": "somebody should look"},
        }
        steps = [{"name": "first", "uses": self.action, "with": params.get(self.action, {})}]
        if self.kind == SSH:
            steps[0]["retry"] = {"count": 1, "interval": "1s"}
        if self.action == "consul.maintenance" and not self.undo:
            steps.append({"name": "rejoin", "uses": self.action, "with": {"enable": False}})
        return steps

    async def _call(self, method: str, path: str, body: Any = None, *, none_on: int = 0) -> Any:
        async with self._session.request(method, self._consul.address + path, json=body) as answer:
            text = await answer.text()
            if answer.status == none_on:
                return None
            assert answer.status == 200, (path, answer.status, text)
            return json.loads(text) if text.strip() else None
