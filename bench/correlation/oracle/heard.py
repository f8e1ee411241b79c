"""What was heard of a case: the flips of each check, what fails, what was planned, which nodes are dead."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from bench.correlation.oracle.belief import Belief
from bench.correlation.oracle.looks import WINDOW_S
from bench.correlation.simulate import Case

RESTART_S = 45.0  # ... and until that is seen
Flips = tuple[tuple[float, bool], ...]  # moment, failing


class Heard:
    def __init__(self, case: Case, belief: Belief) -> None:
        self.now = case.now
        self.flips: dict[tuple[str, str], Flips] = {}  # by unit and check, of those that tell something new
        self.names: dict[str, set[str]] = {}  # of checks, by service
        self.failing: dict[str, float] = {}  # unit -> how long ago it last turned bad, of those that are
        self.noisy: set[str] = set()  # services of which something was heard lately
        self.serf = {e["node"]: e["t"] for e in case.events if e["check"] == "serfHealth" and e["t"] <= self.now}
        self.planned: set[str] = set()  # units
        self.stale: set[tuple[str, str]] = set()  # they have failed for long
        self.gone = 0  # checks that came and went before any fault
        self._read(case, belief)

    def usual(self) -> bool:
        """Who is silent would say something."""
        return not self.planned and not self.stale

    def mute(self, unit: str, name: str) -> bool:
        """It says nothing of what is going on."""
        return unit in self.planned or (unit, name) in self.stale

    def restarted(self, units: Sequence[str]) -> bool:
        """Whether these may be restarting: some came back or have failed for no longer than that takes."""
        flips = [seen for (unit, _), seen in self.flips.items() if unit in units]
        brief = any(not bad for seen in flips for _, bad in seen) or any(
            self.failing.get(unit, inf) < RESTART_S for unit in units
        )
        return brief and not self.planned.intersection(units)

    def _read(self, case: Case, belief: Belief) -> None:
        flips: dict[tuple[str, str], list[tuple[float, bool]]] = {}
        for event in sorted(case.events, key=lambda e: e["t"]):
            if event["check"].startswith("_node_maintenance"):
                self.planned.update(belief.hosted[event["node"]])
            elif event["check"].startswith("_service_maintenance"):
                self.planned.add(event["instance"])
            elif event["instance"] and event["t"] <= self.now:
                bad = event["status"] != "passing"
                flips.setdefault((event["instance"], event["check"]), []).append((event["t"], bad))
        since = self.now - WINDOW_S
        for (unit, name), seen in flips.items():
            service = belief.topology["instances"][unit]
            self.names.setdefault(service, set()).add(name)
            self.gone += any(not bad and at < since for at, bad in seen)
            at, bad = seen[-1]
            if unit in self.planned:
                continue
            if at >= since:
                self.flips[unit, name] = tuple(seen)
                self.noisy.add(service)
                if bad:
                    self.failing[unit] = min(self.now - at, self.failing.get(unit, self.now - at))
            elif bad:
                self.stale.add((unit, name))
