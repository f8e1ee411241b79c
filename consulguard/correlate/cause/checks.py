"""What a service's own checks, and its callers' calls, say of it: the log ratio of broken against well."""

from __future__ import annotations

from math import exp, log

from consulguard.correlate.cause.doors import weigh
from consulguard.correlate.cause.manners import USUAL, quiet
from consulguard.correlate.cause.scene import Scene


class Checks:
    """Remembers what several hypotheses ask again and again."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.w = scene, scene.w
        self._seen: dict[tuple[str, bool], float] = {}
        self._parts: dict[str, tuple[float, float, float] | None] = {}

    def quiet(self, elapsed: float, service: str = "") -> float:
        """Of a unit that has always passed: P(so | broken for ``elapsed`` seconds) / P(so | well)."""
        return quiet(elapsed, self.scene.layout.manner(service) if service else USUAL, self.w)

    def seen(self, service: str, own: bool) -> float:
        """Log ratio of what is seen of the service, if it is at fault itself, or something it needs is."""
        key = (service, own)
        if (found := self._seen.get(key)) is None:
            since = self.scene.since(service)
            told = self._told(service, own, since) if self.scene.checked(service) else 0.0
            found = self._seen[key] = told + self._asked(service, since) + self._met(service, own, since)
        return found

    def parted(self, service: str) -> tuple[float, float, float] | None:
        """Of a service some but not all of whose units fail: its log ratio if it is at fault as a whole, if only
        some of its units are, and their share. What its callers say of it differs as well.
        """
        if service not in self._parts:
            self._parts[service] = self._part(service)
        return self._parts[service]

    def _part(self, service: str) -> tuple[float, float, float] | None:
        scene = self.scene
        failing = [u for u in scene.units.get(service, ()) if u.own > 0 and u.node not in scene.dead]
        size = max(scene.layout.size(service), len(scene.units.get(service, ())))
        if not failing or len(failing) >= size:
            return None
        full, part = self._units(service, True, scene.since(service))
        asked = self._asked(service, scene.since(service)) + self._met(service, True, scene.since(service))
        w = self.w
        whole = log((1 - w.partial) * (w.sees_own * exp(min(full, 300.0)) + 1 - w.sees_own))
        some = log(w.partial * (w.sees_own * part + 1 - w.sees_own))
        return whole + asked, some + asked, len(failing) / size

    def _told(self, service: str, own: bool, since: float) -> float:
        w = self.w
        sees = w.sees_own if own else w.sees_deps
        full, part = self._units(service, own, since)
        return log(sees * ((1 - w.partial) * exp(min(full, 300.0)) + w.partial * part) + 1 - sees)

    def _units(self, service: str, own: bool, since: float) -> tuple[float, float]:
        """The log ratio of what all its units say together, and the mean of their ratios."""
        scene, w = self.scene, self.w
        units = [u for u in scene.units.get(service, ()) if u.node not in scene.dead]
        silent = scene.silent(service)
        if not units and not silent:
            return 0.0, 1.0
        calm = self.quiet(scene.now - since, service)
        full = silent * log(calm)
        some = silent * calm
        for unit in units:
            ratio = exp(unit.own if own else unit.deps)
            full += log(w.strays + (1 - w.strays) * ratio)
            some += ratio
        excuse = 1 + scene.restarts(service)
        return full - log(excuse), some / (len(units) + silent) / excuse

    def _met(self, service: str, own: bool, since: float) -> float:
        """How it met a probe."""
        return weigh(self.scene.doors.get(service), own, since, self.scene.now, self.w)

    def _asked(self, service: str, since: float) -> float:
        """What its callers' calls say, where they are measured: a check that is not shallow."""
        if (asked := self.scene.asked.get(service)) is None:
            return 0.0
        ratio = self.quiet(self.scene.now - since) if asked.ratio is None else exp(asked.ratio)
        return log(self.w.sees_calls * ratio + 1 - self.w.sees_calls)
