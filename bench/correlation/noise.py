"""What goes on in every mesh, with or without a fault: blips, flappers, old troubles, deploys, planned work."""

from __future__ import annotations

import random
from math import inf

from bench.correlation.checks import Ill
from bench.correlation.world import World

WINDOW_S = 900.0  # before the fault
Ills = dict[tuple[str, int], list[Ill]]
Event = dict[str, object]


def blips(world: World, dice: random.Random, ills: Ills, now: float) -> None:
    """A healthy check fails for some seconds, each by itself."""
    looks = [(i, n) for i, s in world.topology["instances"].items() for n in range(len(world.checks[s]))]
    at = -WINDOW_S
    while looks:
        at += dice.expovariate(world.noise_rate * len(looks))
        if at > now:
            return
        ills.setdefault(dice.choice(looks), []).append(Ill(at, at + dice.uniform(1.0, 40.0)))


def flapper(world: World, dice: random.Random, ills: Ills, service: str, now: float) -> None:
    """One instance's check comes and goes."""
    key = dice.choice(world.units[service]), dice.randrange(len(world.checks[service]))
    at = -WINDOW_S + dice.uniform(0.0, 600.0)
    while at < now:
        length = 10.0 + dice.expovariate(1 / 35)
        ills.setdefault(key, []).append(Ill(at, at + length))
        at += length + 10.0 + dice.expovariate(1 / 35)


def chronic(world: World, dice: random.Random, ills: Ills, service: str) -> None:
    """It has failed for hours."""
    start = -dice.uniform(3_600.0, 80_000.0)
    for instance in world.units[service]:
        for n in range(len(world.checks[service])):
            ills.setdefault((instance, n), []).append(Ill(start, inf))


def deploy(world: World, dice: random.Random, ills: Ills, service: str, now: float) -> None:
    """Its instances are restarted one after the other, and it is not over long since."""
    at = dice.uniform(-90.0, max(now - 40.0, -60.0))
    for instance in world.units[service]:
        length = dice.uniform(8.0, 30.0)
        for n in range(len(world.checks[service])):
            ills.setdefault((instance, n), []).append(Ill(at, at + length))
        at += length + dice.uniform(3.0, 15.0)


def maintenance(world: World, dice: random.Random, ills: Ills, now: float) -> list[Event]:
    """An instance, or a whole node, was put into maintenance and then stopped."""
    began = now - dice.uniform(30.0, 600.0)
    instance = dice.choice(sorted(world.topology["instances"]))
    node = world.topology["nodes"][instance]
    event: Event = {"t": round(began, 2), "status": "critical"}
    stopped = [instance]
    if dice.random() < 0.5:
        event.update(service="", instance="", node=node, check="_node_maintenance")
        stopped = world.hosted[node]
    else:
        service = world.topology["instances"][instance]
        event.update(service=service, instance=instance, check=f"_service_maintenance:{instance}")
    for each in stopped:
        start = began + dice.uniform(2.0, 20.0)
        for n in range(len(world.checks[world.topology["instances"][each]])):
            ills.setdefault((each, n), []).append(Ill(start, inf))
    return [event]
