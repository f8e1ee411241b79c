"""What a service's own checks, and its callers' calls, say of it: the log ratio of broken against well."""

from __future__ import annotations

from math import exp, log

from consulguard.correlate.cause.doors import weigh
from consulguard.correlate.cause.manners import USUAL, quiet
from consulguard.correlate.cause.scene import Scene, Unit

_HIGH = 300.0  # log


class Checks:
    """Remembers what several hypotheses ask again and again."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.w = scene, scene.w
        self._parts: dict[str, tuple[float, float, float] | None] = {}

    def quiet(self, elapsed: float) -> float:
        """Of a unit that has always passed: P(so | broken for ``elapsed`` seconds) / P(so | well)."""
        return quiet(elapsed, USUAL, self.w)

    def seen(self, service: str) -> tuple[float, float]:
        """Log ratios of what is seen of it, if something it needs is broken, and if it is at fault itself."""
        since, deps, own = self.scene.since(service), 0.0, 0.0
        if self.scene.checked(service):
            deps, own = self._told(service, since)
        if service in self.scene.asked:
            asked = self._asked(service, since)
            deps, own = deps + asked, own + asked
        if service in self.scene.doors:
            deps, own = deps + self._met(service, False, since), own + self._met(service, True, since)
        return deps, own

    def parted(self, service: str) -> tuple[float, float, float] | None:
        """Of a service some but not all of whose units fail: its log ratio if it is at fault as a whole, if only
        some of its units are, and their share. What its callers say of it differs as well.
        """
        if service not in self._parts:
            self._parts[service] = self._part(service)
        return self._parts[service]

    def _part(self, service: str) -> tuple[float, float, float] | None:
        scene, units = self.scene, self._living(service)
        failing = [u for u in units if u.own > 0]
        size = max(scene.layout.told(service).size, len(scene.units.get(service, ())))
        if not failing or len(failing) >= size:
            return None
        since = scene.since(service)
        full, part = self._units(service, [u.own for u in units], since)
        asked = self._asked(service, since) + self._met(service, True, since)
        w = self.w
        whole = log((1 - w.partial) * (w.sees_own * full + 1 - w.sees_own))
        some = log(w.partial * (w.sees_own * part + 1 - w.sees_own))
        return whole + asked, some + asked, len(failing) / size

    def _told(self, service: str, since: float) -> tuple[float, float]:
        w, units = self.w, self._living(service)
        owns, deps = [u.own for u in units], [u.deps for u in units]
        own = dep = self._mean(self._units(service, owns, since))
        if owns != deps:
            dep = self._mean(self._units(service, deps, since))
        return log(w.sees_deps * dep + 1 - w.sees_deps), log(w.sees_own * own + 1 - w.sees_own)

    def _mean(self, told: tuple[float, float]) -> float:
        full, part = told
        return full + self.w.partial * (part - full)

    def _living(self, service: str) -> list[Unit]:
        """Its units with signs, as far as a living node may say so."""
        units, dead = self.scene.units.get(service, []), self.scene.dead
        return [u for u in units if u.node not in dead] if dead else units

    def _units(self, service: str, ratios: list[float], since: float) -> tuple[float, float]:
        """The ratio of what all its units say together, and the mean of their ratios, which come as logs."""
        scene, strays = self.scene, self.w.strays
        silent = scene.silent(service)
        if not (size := len(ratios) + silent):
            return 1.0, 1.0
        calm = quiet(scene.now - since, scene.layout.told(service).manner, self.w)
        if service not in scene.units:
            return calm**silent, calm
        full, some = silent * log(calm), silent * calm
        for ratio in map(exp, ratios):
            full += log(strays + (1 - strays) * ratio)
            some += ratio
        excuse = 1 + scene.restarts(service)
        return exp(min(full - log(excuse), _HIGH)), some / size / excuse

    def _met(self, service: str, own: bool, since: float) -> float:
        """How it met a probe."""
        return weigh(self.scene.doors.get(service), own, since, self.scene.now, self.w)

    def _asked(self, service: str, since: float) -> float:
        """What its callers' calls say, where they are measured: a check that is not shallow."""
        if (asked := self.scene.asked.get(service)) is None:
            return 0.0
        ratio = self.quiet(self.scene.now - since) if asked.ratio is None else exp(asked.ratio)
        return log(self.w.sees_calls * ratio + 1 - self.w.sees_calls)
