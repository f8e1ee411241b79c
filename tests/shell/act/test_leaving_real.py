"""``consul.deregister`` and ``consul.force_leave`` on real agents: only what is gone is taken out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from consulguard.act import ActContext, ActSettings
from consulguard.model import Outcome, Target
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import ConsulAgent, RealConsul, agent_config, wait_until

from tests.shell.act.support import context, do, intent, look, raw, register, undo_of

pytestmark = pytest.mark.real
EXTERNAL = {"Node": "rack-1", "Address": "10.9.9.9", "NodeMeta": {"external-node": "true"}}


@pytest.fixture
async def ctx(real_consul_module: RealConsul) -> AsyncIterator[ActContext]:
    port = urlsplit(real_consul_module.address).port or 0
    given = context(real_consul_module.address, ActSettings(agent_port=port))
    async with given.consul:
        yield given


@pytest.fixture
def client(real_consul_module: RealConsul, tmp_path: Path) -> Iterator[ConsulAgent]:
    """A second agent in the cluster, "n2"."""
    http, serf = free_ports(2)
    server = real_consul_module.agent.config["ports"]["serf_lan"]
    config: dict[str, Any] = {
        **agent_config("n2", "127.0.0.1", http=http, serf_lan=serf, serf_wan=-1),
        "retry_join": [f"127.0.0.1:{server}"],
        "retry_interval": "1s",
        "datacenter": "dc1",
    }
    agent = ConsulAgent(config, folder=tmp_path / "n2")
    agent.launch()
    wait_until("n2 in the cluster", lambda: serf_health(real_consul_module) == "passing")
    yield agent
    agent.end()


def serf_health(consul: RealConsul) -> str:
    checks = raw(consul.address, "GET", "/v1/health/node/n2") or []
    return next((c["Status"] for c in checks if c["CheckID"] == "serfHealth"), "")


def services(consul: RealConsul) -> set[str]:
    return set(raw(consul.address, "GET", "/v1/catalog/services"))


def node(name: str) -> Target:
    return Target(dc="dc1", node=name)


async def test_an_agents_instance_is_taken_out_at_its_agent(
    real_consul_module: RealConsul, ctx: ActContext
) -> None:
    register(real_consul_module.address, "old", "old-1")
    target = Target(dc="dc1", service="old", node=real_consul_module.node, instance="old-1")
    wanted = intent("consul.deregister", {}, target=target)
    assert await look(wanted, ctx) is Outcome.RETRY
    result = await do(wanted, ctx)
    assert result.outcome is Outcome.DONE
    wait_until("the catalog without it", lambda: "old" not in services(real_consul_module))
    assert await look(wanted, ctx) is Outcome.DONE
    assert (await do(wanted, ctx)).outcome is Outcome.DONE
    assert (await do(undo_of(wanted, result), ctx)).outcome is Outcome.FAILED


async def test_an_external_node_and_its_instance(real_consul_module: RealConsul, ctx: ActContext) -> None:
    service = {"Service": {"Service": "printer", "ID": "printer-1", "Port": 9}}
    raw(real_consul_module.address, "PUT", "/v1/catalog/register", EXTERNAL | service)
    instance = Target(dc="dc1", service="printer", node="rack-1", instance="printer-1")
    assert (await do(intent("consul.deregister", {}, target=instance), ctx)).outcome is Outcome.DONE
    assert "printer" not in services(real_consul_module)
    assert raw(real_consul_module.address, "GET", "/v1/catalog/node/rack-1") is not None
    assert (await do(intent("consul.deregister", {}, target=node("rack-1")), ctx)).outcome is Outcome.DONE
    assert raw(real_consul_module.address, "GET", "/v1/catalog/node/rack-1") is None


async def test_a_node_with_an_agent_is_not_deregistered(real_consul_module: RealConsul, ctx: ActContext) -> None:
    result = await do(intent("consul.deregister", {}, target=node(real_consul_module.node)), ctx)
    assert (result.outcome, "force_leave" in result.detail) == (Outcome.FAILED, True)


async def test_only_a_dead_member_is_forced_out(
    real_consul_module: RealConsul, ctx: ActContext, client: ConsulAgent
) -> None:
    wanted = intent("consul.force_leave", {}, target=node("n2"))
    alive = await do(wanted, ctx)
    assert (alive.outcome, alive.detail) == (Outcome.FAILED, "n2 is alive in the gossip pool, not failed")
    client.end()
    wait_until("n2 to be critical", lambda: serf_health(real_consul_module) == "critical", within_s=60)
    assert await look(wanted, ctx) is Outcome.RETRY
    assert (await do(wanted, ctx)).outcome is Outcome.DONE
    wait_until("n2 to be gone", lambda: serf_health(real_consul_module) == "")
    assert await look(wanted, ctx) is Outcome.DONE
    assert (await do(wanted, ctx)).detail == "n2 has left already"
