"""A failing pod in a real Kubernetes, its instance in a real Consul, and the daemon as a process.

The test does what controllers would: it ends the evicted pod, makes another one and registers that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support import journal
from tests.e2e.support.bot import FAST, Bot
from tests.e2e.test_kill_matrix import AFTER, BEFORE
from tests.shell.act.kube_support import IMAGE, Between, Shop, owner
from tests.shell.act.support import raw, serve
from tests.support.kube import RealKube
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]
TIMES = 3
POD = {"namespace": "${target.meta.k8s-namespace}", "pod": "${target.meta.pod-name}"}


def playbook(action: str, service: str) -> dict[str, Any]:
    given = {**POD, "add": 1, "max": 9} if action == "scale" else POD
    step = {"name": "cure", "uses": f"kubernetes.{action}", "with": given, "retry": {"count": 3, "interval": "1s"}}
    return {
        "name": "restart-pod",
        "mode": "auto",
        "match": {"scope": "instance", "for": "1s", "matchers": [f'service="{service}"']},
        "steps": [step],
        "verify": {"within": "60s", "target": {"passing_for": 3, "replaced": True}},
    }


def three_pods(kube: RealKube, consul: str, name: str) -> Shop:
    """Each a Consul instance on a node of its own; the first one fails."""
    shop = Shop(kube, consul, name)
    for number in (2, 3):
        shop.pod(f"web-b-{number}", f"10.1.0.{number}", owner("ReplicaSet", shop.current))
    raw(shop.consul, "PUT", "/v1/catalog/deregister", {"Node": shop.node})
    for number in (1, 2, 3):
        register(shop, number, "critical" if number == 1 else "passing")
    return shop


def bot_of(shop: Shop, folder: Path, action: str, server: str = "") -> Bot:
    """A bot that may act in this namespace only; others fail on the same Consul at the same time."""
    allowed = {"kubeconfig": shop.kube.kubeconfig(server=server), "namespaces": [shop.name]}
    brake = {"guards": {**FAST["guards"], "storm_min": 1000}, "correlate": {"resolve": "1s", "group_min": 1000}}
    return Bot(folder, shop.consul, playbook(action, f"web-{shop.name}"), actions={"kubernetes": allowed}, **brake)


def register(shop: Shop, number: int, status: str) -> None:
    """As consul-k8s does: the instance is named after the pod, and has its address."""
    pod, name = f"web-b-{number}", f"web-b-{number}-{shop.name}"
    meta = {"pod-name": pod, "k8s-namespace": shop.name, "k8s-service-name": "web"}
    service = {"ID": name, "Service": f"web-{shop.name}", "Address": f"10.1.0.{number}", "Port": 80, "Meta": meta}
    check = {"CheckID": f"{name}-ready", "Name": "Pod readiness", "ServiceID": name, "Status": status}
    place = {"Node": f"{shop.name}-{number}", "Address": f"10.9.0.{number}"}
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


async def test_a_rollout_is_waited_for_then_the_pod_is_evicted_and_replaced(
    real_kube: RealKube, real_consul_module: RealConsul, unique: str, tmp_path: Path
) -> None:
    shop = three_pods(real_kube, real_consul_module.address, unique)
    bot = bot_of(shop, tmp_path / "bot", "evict_pod")
    shop.settle(updated=1)
    bot.start()
    try:
        await held_evicted_replaced(shop, bot)
    finally:
        await bot.stop()


async def held_evicted_replaced(shop: Shop, bot: Bot) -> None:
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
    raw(shop.consul, "PUT", "/v1/catalog/deregister", {"Node": f"{shop.name}-1"})
    register(shop, 9, "passing")

    record = await until(bot, lambda r: r.fact(f"web-{shop.name}", "Run") == "done")
    assert len(record.intents) == 1
    assert [shop.going(f"web-b-{n}") for n in (2, 3, 9)] == [False, False, False]


@pytest.mark.parametrize("action", ["evict_pod", "rollout_restart", "scale", "rollback"])
async def test_a_kill_during_an_effect_leaves_one_effect(
    action: str, real_kube: RealKube, real_consul_module: RealConsul, unique: str, tmp_path: Path
) -> None:
    """Three times at each point, as long as it is passed again: one write, whatever the next lives find."""

    async def one(number: int, point: str) -> None:
        shop = three_pods(real_kube, real_consul_module.address, f"{unique}-{number}")
        between = Between(real_kube)
        async with serve(between.handle) as address:
            bot = bot_of(shop, tmp_path / str(number), action, address)
            bot.forked = True
            try:
                record = await killed(bot, point, lambda: between.writes == (point in AFTER))
            finally:
                await bot.stop()
        assert between.writes == 1, between.asked
        assert effects(shop, action) == 1
        same_again = action != "evict_pod" or point in AFTER
        assert len(record.attempts) == (1 if same_again else TIMES + 1)

    async with asyncio.TaskGroup() as group:
        for number, point in enumerate((*BEFORE, *AFTER)):
            group.create_task(one(number, point), name=f"{action} {point}")


async def killed(bot: Bot, point: str, as_meant: Callable[[], bool]) -> journal.Record:
    """What is on record when the step is done, after ``TIMES`` deaths at most."""

    async def look() -> tuple[bool, journal.Record]:
        return bot.runs, journal.read(bot.journal)

    for _ in range(TIMES):
        bot.start(f"{point}:kill")
        runs, record = await eventually(look, lambda seen: not seen[0] or done(seen[1]), within_s=90)
        if runs:
            return record
        await bot.died()
        assert as_meant()
    bot.start()
    return await until(bot, done, within_s=90)


def done(record: journal.Record) -> bool:
    return any(e.body["result"]["outcome"] == "DONE" for e in record.events("Resulted"))


def effects(shop: Shop, action: str) -> int:
    if action == "evict_pod":
        return int(shop.going())
    spec = shop.web["spec"]
    if action == "scale":
        return int(spec["replicas"]) - 3
    if action == "rollback":
        return int(spec["template"]["spec"]["containers"][0]["image"] != IMAGE)
    return int("annotations" in spec["template"]["metadata"])
