"""A failing pod in a real Kubernetes, its instance in a real Consul, and the daemon as a process.

The test does what controllers would: it ends the evicted pod, makes another one and registers that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.shell.act.kube_support import Shop, owner
from tests.shell.act.support import raw
from tests.support.kube import RealKube
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]
EVICT = {
    "name": "restart-pod",
    "mode": "auto",
    "match": {"scope": "instance", "for": "1s", "matchers": ['meta.pod-name!=""']},
    "steps": [
        {
            "name": "evict",
            "uses": "kubernetes.evict_pod",
            "with": {"namespace": "${target.meta.k8s-namespace}", "pod": "${target.meta.pod-name}"},
        }
    ],
    "verify": {"within": "60s", "target": {"passing_for": 3, "replaced": True}},
}


@pytest.fixture
def shop(real_kube: RealKube, real_consul: RealConsul, unique: str) -> Shop:
    """Three pods, each a Consul instance on a node of its own; the first one fails."""
    shop = Shop(real_kube, real_consul.address, unique)
    for number in (2, 3):
        shop.pod(f"web-b-{number}", f"10.1.0.{number}", owner("ReplicaSet", shop.current))
    raw(shop.consul, "PUT", "/v1/catalog/deregister", {"Node": shop.node})
    for number in (1, 2, 3):
        register(shop, number, "critical" if number == 1 else "passing")
    return shop


@pytest.fixture
async def bot(shop: Shop, tmp_path: Path) -> AsyncIterator[Bot]:
    allowed = {"kubeconfig": shop.kube.kubeconfig(), "namespaces": [shop.name]}
    health = {"recovery": "1s", "vanished": "5s"}
    bot = Bot(tmp_path / "bot", shop.consul, EVICT, actions={"kubernetes": allowed}, health=health)
    yield bot
    await bot.stop()


def register(shop: Shop, number: int, status: str) -> None:
    """As consul-k8s does: the instance is named after the pod, and has its address."""
    pod, name = f"web-b-{number}", f"web-b-{number}-web"
    meta = {"pod-name": pod, "k8s-namespace": shop.name, "k8s-service-name": "web"}
    service = {"ID": name, "Service": "web", "Address": f"10.1.0.{number}", "Port": 80, "Meta": meta}
    check = {"CheckID": f"{name}-ready", "Name": "Pod readiness", "ServiceID": name, "Status": status}
    place = {"Node": f"k8s-{number}", "Address": f"10.9.0.{number}"}
    raw(shop.consul, "PUT", "/v1/catalog/register", {**place, "Service": service, "Checks": [check]})


async def until(bot: Bot, holds: Any, within_s: float = 60.0) -> journal.Record:
    async def look() -> journal.Record:
        return journal.read(bot.journal)

    try:
        return await eventually(look, holds, within_s=within_s)
    except AssertionError:
        raise AssertionError(f"not within {within_s:g} s: {bot.output()}") from None


def holds(record: journal.Record) -> list[str]:
    return [hold for e in record.events("Looked") for hold in e.body.get("holds", ())]


async def test_a_rollout_is_waited_for_then_the_pod_is_evicted_and_replaced(shop: Shop, bot: Bot) -> None:
    shop.settle(updated=1)
    bot.start()
    record = await until(bot, lambda r: any("1 of 3 pods are updated" in hold for hold in holds(r)))
    assert record.intents == []
    assert not shop.going()

    shop.settle()
    record = await until(bot, lambda r: r.intents)
    [intent] = record.intents
    assert intent["params"] == {"namespace": shop.name, "pod": "web-b-1"}

    async def going() -> bool:
        return shop.going()

    await eventually(going, bool, within_s=30)
    shop.kube.send("DELETE", f"{shop.core}/pods/web-b-1", {"gracePeriodSeconds": 0})
    shop.pod("web-b-9", "10.1.0.9", owner("ReplicaSet", shop.current))
    raw(shop.consul, "PUT", "/v1/catalog/deregister", {"Node": "k8s-1"})
    register(shop, 9, "passing")

    record = await until(bot, lambda r: r.fact("web", "Run") == "done")
    assert len(record.intents) == 1
    assert [shop.going(f"web-b-{n}") for n in (2, 3, 9)] == [False, False, False]
