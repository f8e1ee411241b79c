"""What the HTTP door shows where one process runs several units: all of them, told apart by a label."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consulguard.serve.health import ServiceHealth
from consulguard.serve.http import Sights

LABEL = "unit"


class Several:
    """A door's sights. Between two lives of a unit it shows nothing of it, and the whole is not ready."""

    def __init__(self, units: Sequence[str], *, reload: bool) -> None:
        self._units = tuple(units)
        self._shown: dict[str, Sights] = {}
        self.reload = self._reload if reload else None

    @contextlib.contextmanager
    def showing(self, unit: str, sights: Sights) -> Iterator[None]:
        """Show these of the unit while the block runs."""
        self._shown[unit] = sights
        try:
            yield
        finally:
            del self._shown[unit]

    def alive(self) -> bool:
        return all(sights.alive() for sights in self._shown.values())

    def role(self) -> str:
        """leader: of one unit at least."""
        roles = [sights.role() for sights in self._shown.values()]
        if len(roles) < len(self._units) or "" in roles:
            return ""
        return "leader" if "leader" in roles else "standby"

    def services(self, name: str) -> list[ServiceHealth]:
        return [found for sights in self._shown.values() for found in sights.services(name)]

    def exposing(self) -> Callable[[], bytes]:
        """The metrics of this moment; what is returned may be called on a thread."""
        now = {unit: (s.metrics.families, s.health(), s.services("")) for unit, s in self._shown.items()}
        return lambda: _exposed({unit: families(health, told) for unit, (families, health, told) in now.items()})

    async def _reload(self) -> str:
        asked = [s.reload() for s in self._shown.values() if s.reload is not None]
        return "\n".join(sorted({wrong for wrong in await asyncio.gather(*asked) if wrong}))


def _exposed(parts: Mapping[str, Sequence[Metric]]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Labelled(parts))
    return generate_latest(registry)


class _Labelled(Collector):
    """Families of the same name in one, as the format wants it."""

    def __init__(self, parts: Mapping[str, Sequence[Metric]]) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for unit, families in self._parts.items():
            for one in families:
                whole = merged.setdefault(one.name, Metric(one.name, one.documentation, one.type))
                whole.samples += [s._replace(labels={**s.labels, LABEL: unit}) for s in one.samples]
        yield from merged.values()
