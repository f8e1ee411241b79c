"""What our tokens may do, found out by asking; nothing is written."""

from __future__ import annotations

import asyncio
from typing import Any

from consulguard.config import Loaded, settings
from consulguard.consulapi import ConsulClient
from consulguard.errors import ActionRefused, BadAnswer, ConsulRefused, ConsulUnavailable, NotSent
from consulguard.model import Query, Value

PROBE = "consulguard-probe"  # a name nobody uses: an answer about it is an answer about the prefix
RULES = {
    "node": 'node_prefix "" { policy = "read" }',
    "service": 'service_prefix "" { policy = "read" }',
    "agent": 'agent_prefix "" { policy = "read" }',
}


class Finding(Value, frozen=True, kw_only=True):
    area: str  # config, playbooks, secrets, consul, prometheus, kubernetes, slack, receivers
    ok: bool
    text: str


async def consul_rights(loaded: Loaded, timeout_s: float) -> list[Finding]:
    """Whether Consul answers, has a leader, and lets us read what watching needs."""
    client = settings.client(loaded)
    try:
        async with asyncio.timeout(timeout_s):
            return await _consul(client)
    except TimeoutError:
        return [Finding(area="consul", ok=False, text=f"no answer within {timeout_s:g} s")]
    except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
        return [Finding(area="consul", ok=False, text=f"{error}; check consul.http_addr and the token")]
    finally:
        await client.close()


async def _consul(client: ConsulClient) -> list[Finding]:
    leader = (await client.get("/v1/status/leader")).json(str)
    if not leader:
        return [
            Finding(area="consul", ok=False, text="the cluster has no leader; nothing can be trusted until it has")
        ]
    findings = [Finding(area="consul", ok=True, text=f"{client.address} answers; leader {leader}")]
    asked = [{"Resource": resource, "Segment": PROBE, "Access": "read"} for resource in RULES]
    try:
        answers = (await client.send("POST", "/v1/internal/acl/authorize", json=asked)).json(list[dict[str, Any]])
    except ConsulRefused as error:
        if error.status in (401, 404):
            return [*findings, Finding(area="consul", ok=True, text="ACLs are off: every request is allowed")]
        raise
    for answer in answers:
        resource, allowed = str(answer.get("Resource")), bool(answer.get("Allow"))
        optional = resource == "agent"
        text = f"{resource} read allowed" if allowed else f"{resource} read is missing; add: {RULES.get(resource)}"
        findings.append(Finding(area="consul", ok=allowed or optional, text=text))
    return findings


async def prometheus_rights(loaded: Loaded, timeout_s: float) -> list[Finding]:
    """Whether Prometheus takes a query, where one is configured."""
    prometheus = settings.act_settings(loaded).prometheus
    if prometheus is None:
        return []
    try:
        asked = await prometheus.ask(Query(text="vector(1)", expect="== 1"), within_s=timeout_s)
    except (NotSent, ActionRefused) as error:
        return [Finding(area="prometheus", ok=False, text=f"{error}; check actions.prometheus")]
    return [Finding(area="prometheus", ok=asked.ok is True, text=f"{prometheus.address} answers: {asked.text}")]
