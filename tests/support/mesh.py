"""A real Connect mesh: HTTP servers behind Consul's built-in proxies, all traffic over mutual TLS.

It is a -> b -> c where nothing else is said.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import find_binary

CHAIN = {"a": "b", "b": "c", "c": ""}


class Node:
    """One service: its backend, and the ports around it. ``delay_s`` slows its work, not its health."""

    def __init__(self, name: str, calls: str) -> None:
        self.name = name
        self.calls = calls
        self.delay_s = 0.0
        self.port, self.proxy_port, self.upstream_port = free_ports(3)
        self.proxy: subprocess.Popen[bytes] | None = None
        self._runner: web.AppRunner | None = None
        self._busy: set[asyncio.Task[Any]] = set()
        self.session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/", self._work)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        self._runner = runner

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        busy = [task for task in self._busy if task.cancel()]  # those whose caller has gone are nobody's any more
        await asyncio.gather(*busy, return_exceptions=True)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _work(self, request: web.Request) -> web.Response:
        if (task := asyncio.current_task()) is not None:
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        await asyncio.sleep(self.delay_s)
        if not self.calls:
            return web.Response(text=self.name)
        assert self.session is not None
        try:
            async with self.session.get(f"http://127.0.0.1:{self.upstream_port}/") as answer:
                text = await answer.text()
                if answer.status != 200:
                    return web.Response(status=502, text=f"{self.name}!{text}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return web.Response(status=502, text=f"{self.name}!{type(error).__name__}")
        return web.Response(text=f"{self.name}>{text}")


class ConnectMesh:
    """Services and whom each ``calls``, registered with the agent at ``address``.

    ``prefix`` keeps names apart on a shared server.
    Each service has an HTTP and a TCP check every second; each sidecar a TCP and an alias check. With ``deep`` the
    HTTP check of who calls another does the work, others only ask whether the service is there. Intentions allow
    the calls. ``POST <restart_url(name)>`` starts a stopped backend again, for a playbook to do.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        prefix: str = "",
        log_folder: Path,
        calls: Mapping[str, str] = CHAIN,
        deep: bool = False,
    ) -> None:
        self._address = address
        self._token = token
        self._logs = log_folder
        self._deep = deep
        self.names = [prefix + name for name in calls]
        self.nodes = {prefix + a: Node(prefix + a, prefix + b if b else "") for a, b in calls.items()}
        self.restarted: list[str] = []
        self._session: aiohttp.ClientSession | None = None
        self._admin: web.AppRunner | None = None
        self._intentions: list[str] = []

    async def start(self) -> Self:
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=5), trust_env=False
        )
        await self._open_admin()
        for node in self.nodes.values():
            node.session = self._session
            await node.start()
            await self.call(
                "PUT", "/v1/agent/service/register", self._registration(node), at=self.agent(node.name)
            )
            self._launch_proxy(node)
            if node.calls:
                rule = {"SourceName": node.name, "DestinationName": node.calls, "Action": "allow"}
                self._intentions.append((await self.call("POST", "/v1/connect/intentions", rule))["ID"])
        await self.ready()
        return self

    async def stop(self) -> None:
        for name, node in self.nodes.items():
            await self.kill_proxy(name)
            await self.leave(name)
            await node.stop()
        for intention in self._intentions:
            await self.call("DELETE", f"/v1/connect/intentions/{intention}", must=False)
        if self._admin is not None:
            await self._admin.cleanup()
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.stop()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def agent(self, name: str) -> str:
        """The address of the agent that a service is registered with."""
        return self._address

    async def leave(self, name: str) -> None:
        await self.call("PUT", f"/v1/agent/service/deregister/{name}", must=False, at=self.agent(name))

    def way(self, name: str) -> str:
        """What a request to the service answers when all goes well."""
        calls = self.nodes[name].calls
        return f"{name}>{self.way(calls)}" if calls else name

    async def ready(self, within_s: float = 30.0) -> None:
        """Every check passes and a request to each service goes all the way."""
        end = asyncio.get_running_loop().time() + within_s
        while True:
            states = {name: await self.statuses(name) for name in self.names}
            passing = all(s and set(s.values()) == {"passing"} for s in states.values())
            told = {name: await self.request(name) for name in self.names}
            if passing and told == {name: (200, self.way(name)) for name in self.names}:
                return
            assert asyncio.get_running_loop().time() < end, (states, told)
            await asyncio.sleep(0.1)

    # ---- faults

    async def kill(self, name: str) -> None:
        """Stop a backend: its checks fail, and through the alias its sidecar's."""
        await self.nodes[name].stop()

    async def restore(self, name: str) -> None:
        await self.nodes[name].start()

    async def kill_proxy(self, name: str) -> None:
        proxy, self.nodes[name].proxy = self.nodes[name].proxy, None
        if proxy is not None:
            proxy.kill()
            await asyncio.to_thread(proxy.wait)

    def restore_proxy(self, name: str) -> None:
        self._launch_proxy(self.nodes[name])

    # ---- looking

    async def request(self, name: str = "") -> tuple[int, str]:
        """A user's request to the first service, or another: (status, text); the text shows how far it came."""
        assert self._session is not None
        port = self.nodes[name or self.names[0]].port
        try:
            async with self._session.get(f"http://127.0.0.1:{port}/") as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, type(error).__name__

    async def statuses(self, name: str) -> dict[str, str]:
        """Check id -> status, of the service and of its sidecar."""
        rows = await self.call("GET", f"/v1/health/checks/{name}")
        rows += await self.call("GET", f"/v1/health/checks/{name}-sidecar-proxy")
        return {row["CheckID"]: row["Status"] for row in rows}

    def restart_url(self, name: str) -> str:
        assert self._admin is not None
        return f"http://127.0.0.1:{self._admin.addresses[0][1]}/restart/{name}"

    async def call(self, method: str, path: str, body: Any = None, *, must: bool = True, at: str = "") -> Any:
        assert self._session is not None
        headers = {"X-Consul-Token": self._token} if self._token else {}
        url = (at or self._address) + path
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200 or not must, (method, path, answer.status, text)
            return await answer.json() if answer.content_type == "application/json" else text

    # ---- inside

    def _registration(self, node: Node) -> dict[str, Any]:
        every = {"Interval": "1s", "Timeout": "500ms"}
        upstream = {"DestinationName": node.calls, "LocalBindPort": node.upstream_port}
        sidecar = {
            "Port": node.proxy_port,
            "Address": "127.0.0.1",
            "Checks": [
                {"Name": "sidecar listens", "TCP": f"127.0.0.1:{node.proxy_port}", **every},
                {"Name": "alias", "AliasService": node.name},
            ],
            "Proxy": {
                "LocalServiceAddress": "127.0.0.1",
                "LocalServicePort": node.port,
                "Upstreams": [upstream] if node.calls else [],
            },
        }
        path = "/" if self._deep and node.calls else "/health"
        return {
            "ID": node.name,
            "Name": node.name,
            "Address": "127.0.0.1",
            "Port": node.port,
            "Meta": {"team": f"team-{node.name}", "restart-url": self.restart_url(node.name)},
            "Checks": [
                {"CheckID": f"{node.name}-http", "Name": "http", "HTTP": f"http://127.0.0.1:{node.port}{path}"}
                | every,
                {"CheckID": f"{node.name}-tcp", "Name": "tcp", "TCP": f"127.0.0.1:{node.port}"} | every,
            ],
            "Connect": {"SidecarService": sidecar},
        }

    def _launch_proxy(self, node: Node) -> None:
        binary = find_binary()
        assert binary is not None
        env = {"PATH": os.environ.get("PATH", ""), "CONSUL_HTTP_ADDR": self.agent(node.name)}
        if self._token:
            env["CONSUL_HTTP_TOKEN"] = self._token
        with (self._logs / f"proxy-{node.name}.log").open("ab") as log:
            node.proxy = subprocess.Popen(
                [str(binary), "connect", "proxy", "-sidecar-for", node.name],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def _open_admin(self) -> None:
        async def restart(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            self.restarted.append(name)
            await self.restore(name)
            return web.json_response({"restarted": name})

        app = web.Application()
        app.router.add_post("/restart/{name}", restart)
        self._admin = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._admin.setup()
        await web.TCPSite(self._admin, "127.0.0.1", 0).start()


@pytest.fixture
async def connect_mesh(real_consul: RealConsul, tmp_path: Path) -> AsyncIterator[ConnectMesh]:
    """The chain on a fresh single server without ACLs; on a cluster, use ``ConnectMesh`` itself."""
    async with ConnectMesh(real_consul.address, log_folder=tmp_path) as mesh:
        yield mesh
