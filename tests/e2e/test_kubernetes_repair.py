"""A failing pod in a real Kubernetes, its instance in a real Consul, and the daemon as a process.

The test does what controllers would: it ends the evicted pod, makes another one and registers that.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support import journal
from tests.e2e.support.bot import FAST, Bot
from tests.e2e.support.people import PEOPLE, agree
from tests.e2e.test_kill_matrix import AFTER, BEFORE
from tests.shell.act.kube_support import IMAGE, Between, Shop, owner
from tests.shell.act.support import raw, serve
from tests.support.kube import RealKube
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]
TIMES = 3
PODS = ("evict_pod", "delete_pod")  # an attempt that was not sent is over: the next one has another id
POD = {"namespace": "${target.meta.k8s-namespace}", "pod": "${target.meta.pod-name}"}


NODE = {"node": "${target.node}"}
PARAMS: dict[str, dict[str, Any]] = {"scale": {**POD, "add": 1, "max": 9}, "cordon": NODE}


def playbook(action: str, shop: str) -> dict[str, Any]:
    """Of the shop's failing instance, or of its first node. What is destructive two people agree to."""
    given = PARAMS.get(action, POD)
    step = {"name": "cure", "uses": f"kubernetes.{action}", "with": given, "retry": {"count": 3, "interval": "1s"}}
    found = {
        "name": "restart-pod",
        "mode": "auto",
        "match": {"scope": "instance", "for": "1s", "matchers": [f'service="web-{shop}"']},
        "steps": [step],
        "verify": {"within": "60s", "target": {"passing_for": 3, "replaced": True}},
    }
    if action == "delete_pod":
        del found["verify"]
        found |= {"mode": "approve", "approval": {"approvers": {"users": list(PEOPLE)}, "count": 2}}
    if action == "cordon":
        found["match"] |= {"scope": "node", "matchers": [f'node="{shop}-1"']}
        found["verify"] = {"within": "60s", "target": {"passing_for": 3}}
    return found


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
    allowed = {"kubeconfig": shop.kube.kubeconfig(server=server), "namespaces": [shop.name], "cordon": True}
    brake = {"guards": {**FAST["guards"], "storm_min": 1000}, "correlate": {"resolve": "1s", "group_min": 1000}}
    return Bot(folder, shop.consul, playbook(action, shop.name), actions={"kubernetes": allowed}, **brake)


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


@pytest.mark.parametrize("action", ["evict_pod", "delete_pod", "rollout_restart", "scale", "rollback", "cordon"])
async def test_a_kill_during_an_effect_leaves_one_effect(
    action: str, real_kube: RealKube, real_consul_module: RealConsul, unique: str, tmp_path: Path
) -> None:
    """Three times at each point, as long as it is passed again: one write, whatever the next lives find."""

    async def one(number: int, point: str) -> None:
        shop = three_pods(real_kube, real_consul_module.address, f"{unique}-{number}")
        if action == "cordon":
            sick_node(shop)
        between = Between(real_kube)
        async with serve(between.handle) as address:
            bot = bot_of(shop, tmp_path / str(number), action, address)
            try:
                people = PEOPLE if action == "delete_pod" else ()
                asked = functools.partial(agreed, bot, f"web-{shop.name}", people)
                record = await killed(bot, point, asked, lambda: between.writes == (point in AFTER))
            finally:
                await bot.stop()
        assert between.writes == 1, between.asked
        assert effects(shop, action) == 1
        same_again = action not in PODS or point in AFTER
        assert len(record.attempts) == (1 if same_again else TIMES + 1)

    async with asyncio.TaskGroup() as group:
        for number, point in enumerate((*BEFORE, *AFTER)):
            group.create_task(one(number, point), name=f"{action} {point}")


def sick_node(shop: Shop) -> None:
    """The first one: a node of the cluster, at the address that Consul knows, and its disk is full."""
    name = f"{shop.name}-1"
    shop.kube.send("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    address = {"addresses": [{"type": "InternalIP", "address": "10.9.0.1"}]}
    shop.change(f"/api/v1/nodes/{name}/status", {"status": address})
    check = {"Node": name, "CheckID": "disk", "Name": "Disk", "Status": "critical"}
    raw(shop.consul, "PUT", "/v1/catalog/register", {"Node": name, "Address": "10.9.0.1", "Check": check})


async def agreed(bot: Bot, root: str, people: tuple[str, ...]) -> None:
    for person in people:
        await agree(bot, root, person)


async def killed(
    bot: Bot, point: str, asked: Callable[[], Awaitable[None]], as_meant: Callable[[], bool]
) -> journal.Record:
    """What is on record when the step is done, after ``TIMES`` deaths at most. People agree in the first life."""

    async def look() -> tuple[bool, journal.Record]:
        return bot.runs, journal.read(bot.journal)

    for life in range(TIMES):
        bot.start(f"{point}:kill")
        if life == 0:
            await asked()
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
    if action in PODS:
        return int(shop.going())
    if action == "cordon":
        return int(shop.kube.get(f"/api/v1/nodes/{shop.name}-1")["spec"]["unschedulable"])
    spec = shop.web["spec"]
    if action == "scale":
        return int(spec["replicas"]) - 3
    if action == "rollback":
        return int(spec["template"]["spec"]["containers"][0]["image"] != IMAGE)
    return int("annotations" in spec["template"]["metadata"])
