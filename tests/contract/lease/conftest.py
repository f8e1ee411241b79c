"""The backends on their real servers: a Consul cluster with ACLs, a ZooKeeper ensemble, a kube-apiserver."""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from consulguard.clock import Clock, SystemClock
from consulguard.consulapi import ConsulClient, TokenSource
from consulguard.coordinate import LeaseSettings, Members, SharedLease, consul, kubernetes, zookeeper
from consulguard.coordinate.consul_members import ConsulMembers
from consulguard.coordinate.kubernetes_members import KubernetesMembers
from consulguard.coordinate.zookeeper_members import ZookeeperMembers
from kazoo.client import KazooClient

from tests.support.chaos import BLACKHOLE, NONE, Chaos
from tests.support.cluster import Cluster
from tests.support.kube import PATCH, RealKube
from tests.support.zookeeper import Ensemble

TTL_S = 3.0
RULES = """session_prefix "" {policy="write"} key_prefix "consulguard/" {policy="write"}"""
LEASE_VERBS = ["get", "create", "update", "list", "delete"]  # the last two for members
LEASE_RULES = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": LEASE_VERBS}]


class Site(ABC):
    """One lock on a real server, as several candidates see it: each through a proxy of its own."""

    def __init__(self, target: str) -> None:
        self.key = f"consulguard/{uuid.uuid4().hex[:10]}"
        self._target = target
        self._stack = AsyncExitStack()
        self._proxies: dict[SharedLease | Members, Chaos] = {}

    async def candidate(self, name: str, *, clock: Clock | None = None, offset: int = 0) -> SharedLease:
        proxy = await self._stack.enter_async_context(Chaos(self._target))
        settings = LeaseSettings(name=name, key=self.key, ttl_s=TTL_S, epoch_offset=offset)
        lease = self.make(clock or SystemClock(), settings, proxy.address.removeprefix("http://"))
        self._proxies[lease] = proxy
        self._stack.push_async_callback(lease.lock.close)
        return lease

    async def member(self, name: str, *units: str, clock: Clock | None = None) -> Members:
        proxy = await self._stack.enter_async_context(Chaos(self._target))
        settings = LeaseSettings(name=name, key=self.key, ttl_s=TTL_S, units=units)
        members = self.make_members(clock or SystemClock(), settings, proxy.address.removeprefix("http://"))
        self._proxies[members] = proxy
        self._stack.push_async_callback(members.close)
        return members

    def cut_off(self, lease: SharedLease | Members) -> None:
        self._proxies[lease].set(BLACKHOLE)

    def reconnect(self, lease: SharedLease | Members) -> None:
        self._proxies[lease].set(NONE)

    async def end(self) -> None:
        for lease in self._proxies:
            self.reconnect(lease)
        await self._stack.aclose()

    @abstractmethod
    def make(self, clock: Clock, settings: LeaseSettings, through: str) -> SharedLease: ...

    @abstractmethod
    def make_members(self, clock: Clock, settings: LeaseSettings, through: str) -> Members: ...

    @abstractmethod
    async def take_away(self) -> None:
        """What an operator may do: the session destroyed, the node or the object deleted."""


class InConsul(Site):
    def __init__(self, cluster: Cluster, token: str) -> None:
        super().__init__(cluster.address("c1"))
        self._cluster = cluster
        self._token = token

    def make(self, clock: Clock, settings: LeaseSettings, through: str) -> SharedLease:
        return consul.lease(clock, settings, lambda: self._client(through))

    def make_members(self, clock: Clock, settings: LeaseSettings, through: str) -> Members:
        return ConsulMembers(self._client(through), settings)

    def _client(self, through: str) -> ConsulClient:
        token = TokenSource(self._token)
        return ConsulClient(addresses=[f"http://{through}"], token=token, timeout_s=2.0)

    async def take_away(self) -> None:
        [key] = await self._cluster.request("GET", f"/v1/kv/{self.key}")
        [session] = await self._cluster.request("GET", f"/v1/session/info/{key['Session']}")
        assert not session["NodeChecks"]
        assert not session["ServiceChecks"]
        assert (session["Behavior"], session["LockDelay"]) == ("release", TTL_S * 1e9)
        await self._cluster.request("PUT", f"/v1/session/destroy/{key['Session']}")


class InZookeeper(Site):
    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__(f"http://{ensemble.hosts[0]}")
        self._ensemble = ensemble

    def make(self, clock: Clock, settings: LeaseSettings, through: str) -> SharedLease:
        return zookeeper.lease(clock, LeaseSettings(**{**_fields(settings), "hosts": (through,)}))

    def make_members(self, clock: Clock, settings: LeaseSettings, through: str) -> Members:
        return ZookeeperMembers(LeaseSettings(**{**_fields(settings), "hosts": (through,)}))

    async def take_away(self) -> None:
        def delete() -> None:
            client = KazooClient(hosts=",".join(self._ensemble.hosts))
            client.start(timeout=30)
            try:
                client.delete(f"/{self.key}")
            finally:
                client.stop()
                client.close()

        await asyncio.to_thread(delete)


class InKubernetes(Site):
    def __init__(self, kube: RealKube) -> None:
        super().__init__(kube.address)
        self._kube = kube
        self._namespace = f"n{uuid.uuid4().hex[:10]}"
        kube.send("POST", "/api/v1/namespaces", {"metadata": {"name": self._namespace}})
        self._token = kube.token(self._namespace, "consulguard", LEASE_RULES)

    def make(self, clock: Clock, settings: LeaseSettings, through: str) -> SharedLease:
        return kubernetes.lease(clock, self._given(settings, through))

    def make_members(self, clock: Clock, settings: LeaseSettings, through: str) -> Members:
        return KubernetesMembers(self._given(settings, through), clock)

    def _given(self, settings: LeaseSettings, through: str) -> LeaseSettings:
        kubeconfig = self._kube.kubeconfig(token=self._token, server=f"https://{through}")
        return LeaseSettings(**{**_fields(settings), "namespace": self._namespace, "kubeconfig": kubeconfig})

    async def take_away(self) -> None:
        name = self.key.replace("/", "-")
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/{name}"
        await asyncio.to_thread(self._kube.send, "PATCH", path, {"spec": {"holderIdentity": "somebody"}}, PATCH)
        await asyncio.to_thread(self._kube.send, "DELETE", path)


def _fields(settings: LeaseSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.fixture(params=["consul", "zookeeper", "kubernetes"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    made: Site
    if request.param == "consul":
        cluster: Cluster = request.getfixturevalue("cluster_module")
        made = InConsul(cluster, await cluster.make_token(RULES))
    elif request.param == "zookeeper":
        made = InZookeeper(request.getfixturevalue("ensemble"))
    else:
        made = InKubernetes(request.getfixturevalue("real_kube"))
    yield made
    await made.end()
