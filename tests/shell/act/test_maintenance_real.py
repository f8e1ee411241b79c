"""``consul.maintenance`` on a real agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from consulguard.act import ActContext, ActSettings
from consulguard.model import Outcome, Target
from consulguard.testing.real_consul import RealConsul

from tests.shell.act.support import closed_address, context, do, intent, look, raw, register, undo_of

pytestmark = pytest.mark.real
TAG = "consulguard:inc-1"


@pytest.fixture
async def ctx(real_consul_module: RealConsul) -> AsyncIterator[ActContext]:
    port = urlsplit(real_consul_module.address).port or 0
    given = context(real_consul_module.address, ActSettings(agent_port=port))
    async with given.consul:
        yield given
    raw(real_consul_module.address, "PUT", "/v1/agent/maintenance?enable=false")


@pytest.fixture
def web(real_consul_module: RealConsul, request: pytest.FixtureRequest) -> Target:
    """An instance of its own for each test, with an id that needs encoding."""
    name = f"web-{abs(hash(request.node.name)) % 10_000_000}"
    register(real_consul_module.address, name, f"{name}:80/a")
    return Target(dc="dc1", service=name, node=real_consul_module.node, instance=f"{name}:80/a")


def reasons(consul: RealConsul) -> dict[str, str]:
    checks = raw(consul.address, "GET", "/v1/agent/checks")
    return {c["ServiceID"]: c["Notes"] for c in checks.values() if c["Type"] == "maintenance"}


def maintain(target: Target, enable: bool = True, **fields: Any) -> Any:
    return intent("consul.maintenance", {"enable": enable, "reason": "drain & restart"}, target=target, **fields)


async def test_an_instance_on_again_and_off(real_consul_module: RealConsul, ctx: ActContext, web: Target) -> None:
    wanted = maintain(web)
    assert await look(wanted, ctx) is Outcome.RETRY
    first = await do(wanted, ctx)
    assert first.outcome is Outcome.DONE
    assert first.index > 0
    assert reasons(real_consul_module)[web.instance] == f"{TAG} drain & restart"
    again = await do(wanted, ctx)
    assert again.outcome is Outcome.DONE
    assert await look(wanted, ctx) is Outcome.DONE
    undo = undo_of(wanted, first, {"enable": False})
    assert await look(undo, ctx) is Outcome.RETRY
    assert (await do(undo, ctx)).outcome is Outcome.DONE
    assert web.instance not in reasons(real_consul_module)
    assert await look(undo, ctx) is Outcome.DONE
    assert (await do(undo, ctx)).outcome is Outcome.DONE


async def test_a_step_lifts_what_an_earlier_step_of_the_incident_did(
    real_consul_module: RealConsul, ctx: ActContext, web: Target
) -> None:
    await do(maintain(web), ctx)
    assert (await do(maintain(web, False, id="run-1/2/1"), ctx)).outcome is Outcome.DONE
    assert web.instance not in reasons(real_consul_module)


@pytest.mark.parametrize("reason", ["deploy by anna", "", "consulguard:inc-10 other", "consulguard:inc-2 other"])
async def test_the_maintenance_of_somebody_else_stays(
    real_consul_module: RealConsul, ctx: ActContext, web: Target, reason: str
) -> None:
    path = f"/v1/agent/service/maintenance/{quote(web.instance, safe='')}?enable=true&reason={quote(reason)}"
    raw(real_consul_module.address, "PUT", path)
    before = reasons(real_consul_module)[web.instance]
    assert (await do(maintain(web), ctx)).outcome is Outcome.FAILED
    assert (await do(maintain(web, False), ctx)).outcome is Outcome.FAILED
    undo = intent("consul.maintenance", {"enable": False}, target=web, undo=True)
    assert (await do(undo, ctx)).outcome is Outcome.DONE
    assert reasons(real_consul_module)[web.instance] == before


async def test_a_node_on_and_off(real_consul_module: RealConsul, ctx: ActContext) -> None:
    node = Target(dc="dc1", node=real_consul_module.node)
    wanted = maintain(node)
    result = await do(wanted, ctx)
    assert result.outcome is Outcome.DONE
    assert reasons(real_consul_module)[""] == f"{TAG} drain & restart"
    assert (await do(undo_of(wanted, result), ctx)).outcome is Outcome.DONE
    assert "" not in reasons(real_consul_module)


async def test_a_dry_run_and_a_lost_lease_change_nothing(
    real_consul_module: RealConsul, ctx: ActContext, web: Target
) -> None:
    assert (await do(maintain(web, dry_run=True), ctx)).outcome is Outcome.DONE
    assert (await do(maintain(web, epoch=1), ctx)).outcome is Outcome.RETRY
    assert web.instance not in reasons(real_consul_module)


async def test_the_agent_of_another_node_is_never_used(real_consul_module: RealConsul, ctx: ActContext) -> None:
    ghost = {"Node": "ghost", "Address": "127.0.0.1", "Service": {"Service": "web", "ID": "web-9"}}
    raw(real_consul_module.address, "PUT", "/v1/catalog/register", ghost)
    for target in (
        Target(dc="dc1", service="web", node="ghost", instance="web-9"),
        Target(dc="dc1", node="ghost"),
    ):
        result = await do(maintain(target), ctx)
        assert result.outcome is Outcome.FAILED
        assert "not of ghost" in result.detail
    assert not {"", "web-9"} & set(reasons(real_consul_module))


async def test_an_instance_the_agent_does_not_own(real_consul_module: RealConsul, ctx: ActContext) -> None:
    foreign = {
        "Node": real_consul_module.node,
        "SkipNodeUpdate": True,
        "Service": {"Service": "ext", "ID": "ext-1"},
    }
    raw(real_consul_module.address, "PUT", "/v1/catalog/register", foreign)
    target = Target(dc="dc1", service="ext", node=real_consul_module.node, instance="ext-1")
    result = await do(maintain(target), ctx)
    assert result.outcome is Outcome.FAILED
    assert "does not own ext-1" in result.detail


async def test_what_is_not_registered(real_consul_module: RealConsul, ctx: ActContext, web: Target) -> None:
    node = real_consul_module.node
    for target in (
        Target(dc="dc1", service="web", node=node, instance="gone-1"),
        Target(dc="dc1", node="gone"),
    ):
        assert (await do(maintain(target), ctx)).outcome is Outcome.FAILED


async def test_where_the_agent_is(real_consul_module: RealConsul, web: Target) -> None:
    address, node = real_consul_module.address, real_consul_module.node
    port = urlsplit(address).port or 0
    closed = urlsplit(closed_address()).port or 0
    ways = [
        (ActSettings(agent_port=closed), Outcome.DONE),  # our own agent is the node's
        (ActSettings(agent_port=closed, agent_addresses={node: address}), Outcome.DONE),
        (ActSettings(agent_port=port, agent_addresses={node: closed_address()}), Outcome.RETRY),
        (ActSettings(agent_address=f"http://{{address}}:{port}"), Outcome.DONE),
    ]
    for settings, outcome in ways:
        ctx = context(address, settings)
        async with ctx.consul:
            assert (await do(maintain(web), ctx)).outcome is outcome
