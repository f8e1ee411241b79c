"""A real Consul cluster: three servers and two clients, ACLs with default deny, on loopback."""

from __future__ import annotations

import asyncio
import atexit
import json
import random
import shutil
import uuid
from http.client import HTTPConnection
from typing import Any

from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import ConsulAgent, agent_config, scratch, wait_until

SERVERS = ("s1", "s2", "s3")
CLIENTS = ("c1", "c2")
AGENT_RULES = 'node_prefix "" {policy="write"} service_prefix "" {policy="read"} agent_prefix "" {policy="read"}'


class Cluster:
    """Names are s1, s2, s3 (servers) and c1, c2 (clients); every agent has the same ports on its own address.

    ``open``/``close`` block; the async methods do the same work in a thread.
    """

    def __init__(self) -> None:
        self.root_token = str(uuid.uuid4())
        self.agent_token = str(uuid.uuid4())
        self._folder = scratch("consulguard-cluster-")
        net = random.randint(2, 250)
        self.hosts = {n: f"127.{net}.1.{i}" for i, n in enumerate(SERVERS, 1)}
        self.hosts |= {n: f"127.{net}.1.{i}" for i, n in enumerate(CLIENTS, 11)}
        names = ("http", "server", "serf_lan", "serf_wan")
        self._ports = dict(zip(names, free_ports(4, *self.hosts.values()), strict=True))
        self.port = self._ports["http"]
        self.agents = {name: self._agent(name) for name in self.hosts}

    # ---- where

    @property
    def addresses(self) -> dict[str, str]:
        return {name: agent.address for name, agent in self.agents.items()}

    def address(self, name: str = "c1") -> str:
        return self.agents[name].address

    # ---- life

    def open(self) -> None:
        atexit.register(self.close)
        for agent in self.agents.values():
            agent.launch()
        wait_until("a leader", lambda: self.agents["s1"].ask("/v1/status/leader"))
        wait_until("the root token", lambda: self.agents["s1"].ask("/v1/acl/token/self", token=self.root_token))
        self.call("PUT", "/v1/acl/policy", {"Name": "agents", "Rules": AGENT_RULES}, at="s1")
        token = {"SecretID": self.agent_token, "Description": "agents", "Policies": [{"Name": "agents"}]}
        self.call("PUT", "/v1/acl/token", token, at="s1")
        self._wait_settled()

    def close(self) -> None:
        atexit.unregister(self.close)
        for agent in self.agents.values():
            agent.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def start(self) -> None:
        await asyncio.to_thread(self.open)

    async def stop(self) -> None:
        await asyncio.to_thread(self.close)

    async def leader(self) -> str:
        """The leader's name, or "" when the agents that answer know of none."""
        return await asyncio.to_thread(self._leader)

    async def kill(self, name: str) -> None:
        await asyncio.to_thread(self.agents[name].end)

    def freeze(self, name: str) -> None:
        self.agents[name].freeze()

    def resume(self, name: str) -> None:
        self.agents[name].resume()

    async def restart(self, name: str) -> None:
        """Kill (if it runs) and start again with its data; returns when it answers."""
        agent = self.agents[name]
        await asyncio.to_thread(agent.end)
        agent.launch()
        await asyncio.to_thread(wait_until, f"{name} again", lambda: agent.ask("/v1/status/leader"))

    async def settled(self) -> None:
        """All five agents run, all servers are voters and healthy, all nodes' gossip checks pass."""
        await asyncio.to_thread(self._wait_settled)

    async def make_healthy(self) -> None:
        """Bring back whatever a test has frozen or killed."""
        for name, agent in self.agents.items():
            agent.resume()
            if not agent.running:
                agent.launch()
                await asyncio.to_thread(
                    wait_until, f"{name} again", lambda a=agent: a.ask("/v1/agent/metrics") or True
                )
        await self.settled()

    # ---- data

    async def request(
        self, method: str, path: str, body: Any = None, *, at: str = "c1", token: str | None = None
    ) -> Any:
        """One call, with the root token unless told otherwise; the decoded answer, RuntimeError when not 200."""
        return await asyncio.to_thread(self.call, method, path, body, at=at, token=token)

    async def make_token(self, rules: str) -> str:
        """A token with just these rules; returns its secret."""
        return await asyncio.to_thread(self._make_token, rules)

    async def delete_token(self, secret: str) -> None:
        mine = await self.request("GET", "/v1/acl/token/self", token=secret)
        await self.request("DELETE", f"/v1/acl/token/{mine['AccessorID']}")

    async def save_snapshot(self) -> bytes:
        body: bytes = await asyncio.to_thread(self._raw, "GET", "/v1/snapshot", None, "s1", self.root_token)
        return body

    async def restore_snapshot(self, snapshot: bytes) -> None:
        await asyncio.to_thread(self._raw, "PUT", "/v1/snapshot", snapshot, "s1", self.root_token)

    def call(self, method: str, path: str, body: Any = None, *, at: str = "c1", token: str | None = None) -> Any:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        raw = self._raw(method, path, data, at, self.root_token if token is None else token)
        try:
            return json.loads(raw) if raw else None
        except ValueError:
            return raw

    # ---- inside

    def _raw(self, method: str, path: str, data: bytes | None, at: str, token: str) -> bytes:
        connection = HTTPConnection(self.hosts[at], self.port, timeout=15)
        try:
            connection.request(method, path, body=data, headers={"X-Consul-Token": token} if token else {})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {body[:300]!r}")
            return body
        finally:
            connection.close()

    def _leader(self) -> str:
        names = {f"{self.hosts[name]}:{self._ports['server']}": name for name in SERVERS}
        for agent in self.agents.values():
            if agent.running:
                found = names.get(agent.ask("/v1/status/leader", timeout_s=1.0) or "")
                if found and self.agents[found].running:
                    return found
        return ""

    def _make_token(self, rules: str) -> str:
        name = f"t-{uuid.uuid4()}"
        self.call("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        token = self.call("PUT", "/v1/acl/token", {"Description": name, "Policies": [{"Name": name}]})
        secret: str = token["SecretID"]
        for agent in self.agents.values():
            if agent.running:
                wait_until("the token", lambda a=agent: a.ask("/v1/acl/token/self", token=secret, timeout_s=1.0))
        return secret

    def _wait_settled(self) -> None:
        def settled() -> bool:
            servers = self.agents["c1"].ask("/v1/operator/autopilot/health", token=self.root_token) or {}
            voters = [s for s in servers.get("Servers") or () if s["Healthy"] and s["Voter"]]
            passing = self.agents["c1"].ask("/v1/health/state/passing", token=self.root_token) or ()
            nodes = {c["Node"] for c in passing if c["CheckID"] == "serfHealth"}
            # a client that asked a server that lagged behind takes the token for unknown, for half a minute
            known = all(self.agents[name].ask("/v1/agent/self", token=self.root_token) for name in CLIENTS)
            return len(voters) == len(SERVERS) and nodes >= set(self.hosts) and known

        wait_until("a settled cluster", settled, within_s=60)

    def _agent(self, name: str) -> ConsulAgent:
        host, is_server = self.hosts[name], name in SERVERS
        ports = dict(self._ports) if is_server else {**self._ports, "serf_wan": -1}
        tokens = {"agent": self.agent_token} | ({"master": self.root_token} if is_server else {})
        config: dict[str, Any] = {
            **agent_config(name, host, **ports),
            "retry_join": [f"{self.hosts[s]}:{self._ports['serf_lan']}" for s in SERVERS],
            "retry_interval": "1s",
            "session_ttl_min": "1s",
            "primary_datacenter": "dc1",
            "acl": {"enabled": True, "default_policy": "deny", "down_policy": "extend-cache", "tokens": tokens},
        }
        if is_server:
            config |= {"server": True, "bootstrap_expect": len(SERVERS)}
        return ConsulAgent(config, folder=self._folder / name)
