"""Which causes are worth judging in full: in a storm there are too many, and most are hopeless."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from math import inf

from consulguard.correlate.cause.callers import Callers
from consulguard.correlate.cause.scene import Scene

SERVICES = 24  # judged in full
_NODES = 4
_ZONES = 2
_SICK = 0.4  # of a zone's nodes
_PASSES = 12  # of the mesh, until everybody knows who fails above; what is farther says little


def reach(callers: Callers) -> list[int]:
    """By service, as bits: the failing ones among itself and what calls it, over any number of calls."""
    above = callers.above
    found = [1 << n if n < callers.failing else 0 for n in range(len(callers.names))]
    below: dict[int, list[int]] = {}
    stale: Iterable[int] = range(len(found))
    for _ in range(_PASSES):
        grown = []
        for n in stale:
            bits = found[n]
            for caller in above[n]:
                bits |= found[caller]
            if bits != found[n]:
                found[n] = bits
                grown.append(n)
                if n not in below:
                    below[n] = callers.below(n)
        if not grown:
            break
        stale = sorted({callee for n in grown for callee in below[n]})
    return found


def services(callers: Callers, reached: list[int]) -> list[str]:
    """The most promising first: failing ones, and those above which much fails."""
    scene, names, above = callers.scene, callers.names, callers.above
    worth = []
    for n, below in enumerate(scene.depth.values()):
        failing = sum([c < callers.failing for c in above[n]])
        quiet = scene.layout.callers(names[n]) - len(above[n])
        far = reached[n].bit_count()
        worth.append(2 * (n < callers.failing) + failing + 0.2 * far - 0.02 * quiet - 0.3 * below)
    least = min(nlargest(SERVICES, worth), default=inf)
    told, onset = scene.layout.told, scene.onset
    order = sorted(
        [n for n, much in enumerate(worth) if much >= least],
        key=lambda n: (-worth[n], onset.get(names[n], inf), -len(above[n]), told(names[n]).size, names[n]),
    )
    return [names[n] for n in order[:SERVICES]]


def nodes(scene: Scene) -> list[str]:
    if scene.layout.hosts < 2:
        return scene.told_ill()  # on a single node everything fails there: that says nothing of the node
    failing = {n: sum(max(u.own, u.deps) > 0 for _, u in told) for n, told in scene.at_node.items()}
    worth = {n: k for n, k in failing.items() if k}
    worth.update({n: worth.get(n, 0) + 50 for n in scene.told_ill()})
    return sorted(worth, key=lambda n: (-worth[n], n))[:_NODES]


def zones(scene: Scene) -> list[str]:
    sick: dict[str, int] = {}
    for node in {*scene.told_ill(), *(n for n, told in scene.at_node.items() if any(u.own > 0 for _, u in told))}:
        if zone := scene.graph.zone_of(node):
            sick[zone] = sick.get(zone, 0) + 1
    every = scene.graph.zones()
    share = {z: n / len(every[z]) for z, n in sick.items() if len(every[z]) > 1 and n >= _SICK * len(every[z])}
    return sorted(share, key=lambda z: (-share[z], z))[:_ZONES]
