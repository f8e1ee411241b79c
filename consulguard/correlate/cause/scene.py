"""The part of the mesh a judgement needs: signs by unit, and who calls whom around them.

A *unit* is an instance on a node. A sidecar's signs count for the service it fronts where no instance of that
service on the same node speaks for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import exp, inf, log
from typing import NamedTuple

import msgspec

from consulguard.correlate.cause.layout import layout
from consulguard.correlate.cause.memory import NONE, PLANNED, Call, Hints, Trail
from consulguard.correlate.cause.rolling import odds
from consulguard.correlate.cause.trail import Reader, Sign
from consulguard.correlate.cause.weights import Weights
from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import is_consul, node_key, service_key

_ALIVE = frozenset({"serfHealth", "externalNodeHealth"})  # an agent's word, or of who watches nodes without one
_OWN = re.compile(r"cpu|mem|disk|load|\bfd|process|oom", re.I)  # checks of a thing's own resources
_DOWN = 3  # calls below a failing service where its cause is sought
_MANY = 4  # of the same check of resources, to know what is usual
_STRAINS = 2  # so often over, a strain says something; once is any batch job
_TELLING = 0.7  # log: from here a unit counts as failing


class Unit(msgspec.Struct, frozen=True, gc=False):
    node: str
    own: float  # log ratio, if its service is at fault; 0: says nothing
    deps: float  # ... if something its service needs is
    onset: float
    bad: bool
    blips: tuple[tuple[float, float, bool], ...]


Heard = tuple[str, Sign, bool]  # a check, its sign, and whether it is an alias: that speaks of something else


class Asked(NamedTuple):
    """What its callers' calls say of a service. ``ratio``: as a check's sign; None: none of them fails."""

    ratio: float | None
    onset: float


class Scene:
    def __init__(self, graph: Graph, trails: Iterable[Trail], now: float, w: Weights, hints: Hints = NONE) -> None:
        self.graph, self.now, self.w = graph, now, w
        self.layout = layout(graph)
        self.units: dict[str, list[Unit]] = {}  # service -> its units with signs
        self.at_node: dict[str, list[tuple[str, Unit]]] = {}  # node -> (service, unit) with signs
        self.gone = 0  # units that failed and pass again
        self.dead: dict[str, float] = {}  # node -> since when it is not alive
        self.ill: dict[str, float] = {}  # node -> log ratio of its other checks
        reader = Reader(now, w)
        self._read(trails, reader)
        self._frozen: dict[str, list[str]] = {}  # service -> dead nodes it has units on
        for node in self.dead:
            for service in self.layout.units(node):
                self._frozen.setdefault(service, []).append(node)
        self.onset: dict[str, float] = {}  # failing services
        for service, units in self.units.items():
            moments = [u.onset for u in units if max(u.own, u.deps) > _TELLING]
            if moments:
                self.onset[service] = min(moments)
        self.asked = _asked(self.layout.named, hints.calls.values(), reader)
        self._changes = hints.changes
        self.doors = hints.doors
        for service, asked in self.asked.items():
            if asked.ratio is not None and asked.ratio > _TELLING:
                self.onset[service] = min(asked.onset, self.onset.get(service, asked.onset))
        self._since: dict[str, float] = {}
        self.depth = self._around()
        self._restarts: dict[str, float] = {}

    # ---- what is told

    def _read(self, trails: Iterable[Trail], reader: Reader) -> None:
        signs: dict[tuple[str, str, str], list[Heard]] = {}
        planned: set[tuple[str, str]] = set()
        fronts: set[tuple[str, str, str]] = set()
        owner_of = self.graph.owner
        for trail in trails:
            target, flips = trail.target, trail.flips
            node = node_key(target) if target.node else ""
            service = service_key(target) if target.service else ""
            owner = owner_of(service)
            if flips[-1][1] == PLANNED:
                planned.add((owner, node))
            elif (sign := reader.read(flips)) is not None and not is_consul(target):
                at, alias = (owner, node, target.instance), trail.alias and owner == service
                if at in signs:
                    signs[at].append((trail.check, sign, alias))
                else:
                    signs[at] = [(trail.check, sign, alias)]
                if owner != service:
                    fronts.add(at)
        usual = _usual(signs, self.now)
        own = {at[:2] for at in signs if at not in fronts} if fronts else set()
        for at in sorted(signs):
            service, node, _ = at
            if (service, node) in planned or ("", node) in planned or (at in fronts and at[:2] in own):
                continue
            self._put(service, node, signs[at], usual)

    def _put(self, service: str, node: str, told: list[Heard], usual: Mapping[str, Usual]) -> None:
        if not service:
            for check, sign, _ in told:
                if sign.ratio is not None:
                    self._put_node(node, check, sign, sign.ratio)
            return
        blips = bad = False
        for _, sign, _ in told:
            blips, bad = blips or bool(sign.blips), bad or sign.bad
        self.gone += blips and not bad
        unit = _unit(node, told, usual, self.now, self.w)
        self.units.setdefault(service, []).append(unit)
        if node:
            self.at_node.setdefault(node, []).append((service, unit))

    def _put_node(self, node: str, check: str, sign: Sign, ratio: float) -> None:
        if check not in _ALIVE:
            self.ill[node] = max(min(ratio, self.w.bound), self.ill.get(node, -self.w.bound))
        elif sign.bad and sign.worst == 2:
            self.dead[node] = min(sign.onset, self.dead.get(node, sign.onset))

    def told_ill(self) -> list[str]:
        """Nodes whose own checks speak against them."""
        return [*self.dead, *(n for n, ratio in self.ill.items() if ratio > 0 and n not in self.dead)]

    def sick_since(self, node: str) -> float:
        """Since when something shows there, that it is dead or a failing unit; now, if nothing does."""
        moments = [u.onset for _, u in self.at_node.get(node, ()) if max(u.own, u.deps) > 0]
        return min([*moments, self.dead.get(node, self.now)])

    # ---- where to look

    def _around(self) -> dict[str, int]:
        """Failing services, these first, and what they need, by calls below the nearest failing one.

        What looks well is taken to be broken, if it is, since the first above it failed or its node died.
        """
        since = self._since
        since.update(self.onset)
        for node, moment in self.dead.items():
            for service in self.layout.units(node):
                since[service] = self.onset.get(service, min(moment, since.get(service, moment)))
        depth = dict.fromkeys(since, 0)
        ring = list(depth)
        for below in range(1, _DOWN + 1):
            beneath: dict[str, None] = {}
            for service in ring:
                moment = since[service]
                for callee in self.graph.callees(service):
                    if callee not in depth:
                        beneath[callee] = None
                        if moment < since.get(callee, inf):
                            since[callee] = moment
            ring = list(beneath)
            depth.update(dict.fromkeys(ring, below))
        return depth

    def since(self, service: str) -> float:
        """Since when it is broken, if it is."""
        return self._since.get(service, self.now - 60.0)

    def restarts(self, service: str) -> float:
        """The odds that the service is being restarted unit by unit, rather than left alone."""
        if len(units := self.units.get(service, ())) < 2:
            return 0.0
        if (found := self._restarts.get(service)) is None:
            found = self._restarts[service] = odds([u.blips for u in units], self.w)
        return found

    def changed(self, service: str) -> bool:
        """Whether it was changed shortly before it failed, if it did."""
        if not (told := self._changes.get(service)):
            return False
        moment = self.since(service)
        return any(moment - self.w.changed_s <= c.at <= moment + self.w.early_s for c in told)

    def checked(self, service: str) -> bool:
        """Whether anything would show if the service were broken."""
        return service in self.units or self.layout.told(service).checked

    def silent(self, service: str) -> int:
        """Units of the service that have always passed, as far as a living node may say so."""
        told, found = self.units.get(service, ()), self.layout.told(service).size
        if service in self._frozen:
            there = {u.node for u in told}
            found -= sum(self.layout.units(n).get(service, 0) for n in self._frozen[service] if n not in there)
        return max(found - len(told), 0)


def _asked(named: Callable[[str], str], calls: Iterable[Call], reader: Reader) -> dict[str, Asked]:
    """By service. Whose calls fail wherever they go may be at fault itself: that says less of whom it calls."""
    w = reader.w
    told: dict[str, list[tuple[str, Sign | None]]] = {}
    well: set[str] = set()  # callers some of whose calls succeed
    for call in calls:
        caller, callee = named(call.caller), named(call.callee)
        if caller and callee and caller != callee:
            sign = reader.read(call.flips)
            told.setdefault(callee, []).append((caller, sign))
            if sign is None or not sign.bad:
                well.add(caller)
    found: dict[str, Asked] = {}
    for callee, signs in told.items():
        bad = [(caller, s, s.ratio) for caller, s in signs if s is not None and s.ratio is not None]
        if not bad:
            if all(s is None for _, s in signs):
                found[callee] = Asked(None, reader.now)
            continue
        sure = len(bad) > 1 or bad[0][0] in well
        best = max(ratio for _, _, ratio in bad) + (w.several if len(bad) > 1 else 0.0)
        found[callee] = Asked(min(best, w.bound if sure else w.calls_alone), min(s.onset for _, s, _ in bad))
    return found


@lru_cache(maxsize=4_096)
def _of_resources(check: str) -> bool:
    return _OWN.search(check) is not None


class Usual(NamedTuple):
    """What a check of resources says of the middle one of many: where all strain, strain tells nothing.

    What tells then is who never eases while the others do, as a thing that is pinned to its limit.
    """

    ratio: float = 0.0
    eases: float = 0.0  # how often, per second


def _usual(signs: Mapping[tuple[str, str, str], list[Heard]], now: float) -> dict[str, Usual]:
    told: dict[str, list[Sign]] = {}
    for checks in signs.values():
        for check, sign, _ in checks:
            if sign.ratio is not None and _of_resources(check):
                told.setdefault(check, []).append(sign)
    found = {}
    for check, all_of in told.items():
        if len(all_of) >= _MANY:
            middle = sorted(s.ratio or 0.0 for s in all_of)[len(all_of) // 2]
            eases = sorted(s.eased / max(now - s.onset, 10.0) for s in all_of)[len(all_of) // 2]
            found[check] = Usual(max(middle, 0.0), eases)
    return found


def _strain(sign: Sign, usual: Usual, now: float) -> float:
    """Log ratio of a check of resources, as far as it is not usual."""
    pinned = usual.eases * (now - sign.onset) if sign.bad and not sign.eased else 0.0
    ratio = sign.ratio or 0.0
    if not sign.bad and len(sign.blips) < _STRAINS:
        ratio = min(ratio, 0.0)
    return ratio - usual.ratio + pinned


def _unit(node: str, told: list[Heard], usual: Mapping[str, Usual], now: float, w: Weights) -> Unit:
    """What all checks of a unit say together: the strongest of its symptoms, and of its own resources."""
    own = deps = 0.0
    telling = [one for one in told if one[1].ratio is not None]
    seen = [sign for check, sign, _ in telling if not _of_resources(check)]
    if seen:
        deps = _agreed(seen, w)
        itself = [sign for check, sign, alias in telling if not (alias or _of_resources(check))]
        own = deps if len(itself) == len(seen) else _agreed(itself, w)
    if len(seen) < len(telling):
        strained = [_strain(s, usual.get(c, Usual()), now) for c, s, _ in telling if _of_resources(c)]
        best = min(max(strained), w.bound)
        # a strained thing need not fail outside, and a failing one need not be strained
        own = log(w.outside * exp(own) + 1 - w.outside) + log(w.strains * exp(best) + 1 - w.strains)
        deps += log(1 - w.strained + w.strained * exp(min(best, 4.0)))
    bad = [s.onset for _, s, _ in telling if s.bad]
    onset = min(bad or [s.onset for _, s, _ in telling], default=0.0)
    blips = max([s.blips for s in seen], key=len, default=())
    return Unit(node, own, deps, onset, bool(bad), blips)


def _agreed(seen: list[Sign], w: Weights) -> float:
    """Log ratio of the strongest symptom, and more where another agrees; 0 where there is none."""
    best = min(max([s.ratio or 0.0 for s in seen], default=0.0), w.bound)
    return best + (w.several if len(seen) > 1 and best > 0 else 0.0)
