"""The ACL rules of docs/actions.md are enough for each action, and no action works without its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from consulguard.act import ActSettings
from consulguard.act.runner import perform
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient, TokenSource
from consulguard.model import Outcome, Target
from consulguard.testing.real_consul import RealConsul

from tests.shell.act.support import ACTIONS, context, intent, raw, register, undo_of
from tests.support.consul import need_consul

pytestmark = pytest.mark.real
ROOT = "5e5e5e5e-0000-4000-8000-000000000001"
INSTANCE = Target(dc="dc1", service="pay", node="local", instance="pay-1")
MAINTENANCE = (
    'node "local" { policy = "read" } agent "local" { policy = "read" } service "pay" { policy = "write" }'
)
NODE = 'node "local" { policy = "write" } agent "local" { policy = "read" }'
RESOLVER = 'service "pay" { policy = "write" } service "standby" { policy = "read" }'
INTENTION = 'service "pay" { policy = "read" intentions = "write" } agent "local" { policy = "read" }'
CASES: dict[str, tuple[str, dict[str, Any], Target, str]] = {
    "instance": ("consul.maintenance", {}, INSTANCE, MAINTENANCE),
    "node": ("consul.maintenance", {}, Target(dc="dc1", node="local"), NODE),
    "resolver": ("consul.service_resolver", {"redirect": {"service": "standby"}}, INSTANCE, RESOLVER),
    "splitter": (
        "consul.service_splitter",
        {"splits": [{"weight": 100}]},
        INSTANCE,
        'service "pay" { policy = "write" }',
    ),
    "intention": ("consul.intention", {"source": "batch"}, INSTANCE, INTENTION),
    "kv": ("consul.kv_put", {"key": "flags/pay", "value": "1"}, INSTANCE, 'key "flags/pay" { policy = "write" }'),
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[RealConsul]:
    need_consul()
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"master": ROOT, "agent": ROOT}}
    consul = RealConsul(config={"acl": acl}, token=ROOT)
    consul.open()
    register(consul.address, "pay", "pay-1", token=ROOT)
    for name in ("pay", "standby"):
        defaults = {"Kind": "service-defaults", "Name": name, "Protocol": "http"}
        raw(consul.address, "PUT", "/v1/config", defaults, token=ROOT)
    yield consul
    consul.close()


def token(consul: RealConsul, rules: str) -> str:
    """A token with these rules and nothing else."""
    name = f"p{SystemClock().monotonic():.6f}".replace(".", "-")
    raw(consul.address, "PUT", "/v1/acl/policy", {"Name": name, "Rules": rules}, token=ROOT)
    made = raw(consul.address, "PUT", "/v1/acl/token", {"Policies": [{"Name": name}]}, token=ROOT)
    return str(made["SecretID"])


def traces(consul: RealConsul) -> list[Any]:
    """Everything an action of this module could have left behind."""
    paths = ("/v1/config/service-resolver", "/v1/config/service-splitter", "/v1/kv/flags/pay", "/v1/agent/checks")
    return [raw(consul.address, "GET", path, token=ROOT) for path in (*paths, "/v1/connect/intentions")]


async def test_maintenance_that_may_not_be_seen_is_not_called_lifted(guarded: RealConsul) -> None:
    settings = ActSettings(agent_port=urlsplit(guarded.address).port or 0)
    rules = 'node "local" { policy = "read" } agent "local" { policy = "read" }'
    client = ConsulClient(addresses=[guarded.address], token=TokenSource(token(guarded, rules)))
    ctx = context(guarded.address, settings, consul=client)
    async with client:
        lift = intent("consul.maintenance", {"enable": False}, target=INSTANCE, undo=True)
        assert (await perform(lift, ACTIONS, ctx)).outcome is Outcome.FAILED


@pytest.mark.parametrize("case", sorted(CASES))
async def test_the_documented_rules_are_enough_and_needed(guarded: RealConsul, case: str) -> None:
    action, params, target, rules = CASES[case]
    settings = ActSettings(agent_port=urlsplit(guarded.address).port or 0)
    wanted = intent(action, params, target=target)
    outcomes, clean = [], traces(guarded)
    for given in (rules, 'node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }'):
        client = ConsulClient(addresses=[guarded.address], token=TokenSource(token(guarded, given)))
        ctx = context(guarded.address, settings, consul=client)
        async with client:
            result = await perform(wanted, ACTIONS, ctx)
            outcomes.append(result.outcome)
            if result.outcome is Outcome.DONE:
                assert traces(guarded) != clean
                outcomes.append((await perform(undo_of(wanted, result), ACTIONS, ctx)).outcome)
    assert outcomes == [Outcome.DONE, Outcome.DONE, Outcome.FAILED]
    assert traces(guarded) == clean
