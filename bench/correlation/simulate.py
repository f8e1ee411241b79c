"""Cases by seed: a mesh, a fault in it or none, and the flips that Consul shows until somebody asks.

    for case in cases(300, seed=0): rank(case.topology, case.events, case.now)

A case is in the form of ``consulguard.testing.rank``; t = 0 is the (first) fault. Time runs in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.correlation import noise
from bench.correlation.checks import flips
from bench.correlation.faults import KINDS, Fault, merged, of_node, of_service, of_zone, pick
from bench.correlation.meshes import LARGE, PUBLIC
from bench.correlation.world import VARIANTS, World, world

NOWS = (30.0, 45.0, 60.0, 90.0, 120.0, 180.0)  # when the question is asked
NOTHING = ("quiet", "flappers", "deploy", "maintenance")  # what goes on where nothing is at fault
LARGE_SHARE = 0.15  # of the cases, on power-law graphs
TRIES = 30  # until something of the fault shows
FAILING = ("critical", "warning")


@dataclass(slots=True)
class Case:
    name: str
    mesh: str
    kind: str
    topology: dict[str, Any]
    events: list[dict[str, Any]]
    now: float
    truth: frozenset[str]  # <service>, node:<node>, zone:<zone>; empty: nobody is to blame
    callers_failing: int | None = 0  # direct callers of a hidden root that fail by it at ``now``; None: not known
    world: World | None = None  # the hidden physics; None: an external case

    @property
    def family(self) -> str:
        if self.kind != "hidden" or self.callers_failing is None:
            return self.kind
        return "hidden, >= 2 callers fail" if self.callers_failing >= 2 else "hidden, < 2 callers fail"


def cases(count: int, seed: int = 0, kinds: Sequence[str] = KINDS, meshes: Sequence[str] = ()) -> Iterator[Case]:
    """``count`` cases, the kinds in turn. ``meshes``: only these."""
    for n in range(count):
        kind = kinds[n % len(kinds)]
        dice = random.Random(f"{seed}/{n}/{kind}")
        made = None
        while made is None:
            group = tuple(LARGE if dice.random() < LARGE_SHARE else PUBLIC)
            mesh = dice.choice(tuple(meshes) or group)
            variant = 0 if mesh in LARGE else dice.randrange(VARIANTS)
            made = case(world(mesh, variant, seed), kind, dice, f"{kind}-{seed}-{n}")
        yield made


def case(mesh: World, kind: str, dice: random.Random, name: str = "") -> Case | None:
    """One case of this kind; of a fault something shows at its ``now``. None where it hardly ever does."""
    wanted = dice.choice((1, 2)) if kind == "hidden" else 1  # callers of a hidden root that fail
    for n in range(TRIES):
        least = wanted if 2 * n < TRIES else 1
        now = dice.choice(NOWS)
        busy, ills, planned = _background(mesh, dice, kind, now)
        if (fault := _fault(mesh, kind, dice, busy)) is None:
            continue
        events = planned + _events(mesh, dice, fault, ills, now)
        failing = _failing(events)
        if kind != "none" and not _shows(mesh, fault, failing, least):
            continue
        events.sort(key=lambda e: (e["t"], e["instance"], e["check"]))
        truth = [*fault.services, *(f"node:{n}" for n in fault.nodes), *(f"zone:{z}" for z in fault.zones)]
        return Case(
            name=name or f"{kind}-{mesh.id}",
            mesh=mesh.id.partition(".")[0],
            kind=kind,
            topology=mesh.topology,
            events=events,
            now=now,
            truth=frozenset(truth),
            callers_failing=sum(_callers(mesh, fault, failing, s) for s in fault.hidden),
            world=mesh,
        )
    return None


def attempt(mesh: World, kind: str, dice: random.Random, now: float, least: int) -> bool:
    """Whether a fault of this kind, nothing else going on, shows."""
    fault = _fault(mesh, kind, dice, set())
    return fault is not None and _shows(mesh, fault, _failing(_events(mesh, dice, fault, {}, now)), least)


def _fault(mesh: World, kind: str, dice: random.Random, busy: set[str]) -> Fault | None:
    """None where everything is busy."""
    if kind == "none":
        return Fault()
    if kind == "node":
        return of_node(mesh, dice, dice.choice(sorted(n for n, there in mesh.hosted.items() if len(there) > 1)))
    if kind == "zone":
        return of_zone(mesh, dice, dice.choice(sorted(set(mesh.topology["zones"].values()))))
    first = _broken(mesh, dice, busy, hidden=kind == "hidden", start=0.0)
    if kind != "double" or first is None:
        return first
    hidden = dice.random() < 0.2
    second = _broken(mesh, dice, busy | set(first.services), hidden, start=dice.uniform(0.0, 20.0))
    return merged(first, second) if second is not None else None


def _broken(mesh: World, dice: random.Random, busy: set[str], hidden: bool, start: float) -> Fault | None:
    def fits(service: str) -> bool:
        return service not in busy and (service in mesh.callers if hidden else bool(mesh.checks[service]))

    service = pick(mesh, dice, fits)
    return of_service(mesh, dice, service, start, hidden) if service is not None else None


def _background(
    mesh: World, dice: random.Random, kind: str, now: float
) -> tuple[set[str], noise.Ills, list[dict[str, Any]]]:
    """Services that are busy with something else, what is ill by it, and what was planned."""
    ills: noise.Ills = {}
    busy: set[str] = set()
    checked = [s for s in mesh.topology["services"] if mesh.checks[s]]

    def one() -> str:
        found: str = dice.choice([s for s in checked if s not in busy] or checked)
        busy.add(found)
        return found

    what = dice.choice(NOTHING) if kind == "none" else ""
    planned: list[dict[str, Any]] = []
    noise.blips(mesh, dice, ills, now)
    for _ in range(dice.choice((2, 3)) if what == "flappers" else int(dice.random() < 0.25)):
        noise.flapper(mesh, dice, ills, one(), now)
    if dice.random() < 0.2:
        noise.chronic(mesh, dice, ills, one())
    if what == "deploy" or dice.random() < 0.08:
        noise.deploy(mesh, dice, ills, one(), now)
    if what == "maintenance" or dice.random() < 0.05:
        planned = noise.maintenance(mesh, dice, ills, now)
        busy |= {mesh.topology["instances"][i] for (i, _), found in ills.items() if found[-1].end > now}
    return busy, ills, planned


def _events(mesh: World, dice: random.Random, fault: Fault, ills: noise.Ills, now: float) -> list[dict[str, Any]]:
    both = {key: list(found) for key, found in ills.items()}
    for key, found in fault.ills.items():
        both.setdefault(key, []).extend(found)
    events: list[dict[str, Any]] = []
    for (instance, n), found in both.items():
        service, node = mesh.topology["instances"][instance], mesh.topology["nodes"][instance]
        check = mesh.checks[service][n]
        frozen = fault.frozen.get(node, now)
        for at, status in flips(check, found, now, dice, frozen):
            events.append(
                {"t": at, "service": service, "instance": instance, "check": check.name, "status": status}
            )
    for node, at in fault.serf.items():
        if at <= now:
            events.append(
                {
                    "t": round(at, 2),
                    "service": "",
                    "instance": "",
                    "node": node,
                    "check": "serfHealth",
                    "status": "critical",
                }
            )
    return events


def _failing(events: Sequence[dict[str, Any]]) -> set[str]:
    """Instances, and node:<n>, that have a check that is not passing and was since the fault."""
    last: dict[tuple[str, str, str], dict[str, Any]] = {}
    for event in sorted(events, key=lambda e: e["t"]):
        last[event["instance"], event.get("node", ""), event["check"]] = event
    return {
        instance or f"node:{node}"
        for (instance, node, _), e in last.items()
        if e["status"] in FAILING and e["t"] >= 0
    }


def _shows(mesh: World, fault: Fault, failing: set[str], least: int) -> bool:
    """Of each root at least something; of a hidden one ``least`` failing callers."""
    if not failing & fault.blamed:
        return False
    own = all(set(mesh.units[s]) & failing for s in fault.services if s not in fault.hidden)
    return own and all(_callers(mesh, fault, failing, s) >= least for s in fault.hidden)


def _callers(mesh: World, fault: Fault, failing: set[str], service: str) -> int:
    callers = [c for c in mesh.callers.get(service, ()) if c in fault.suffers]
    return sum(bool(set(mesh.units[c]) & failing & fault.blamed) for c in callers)
