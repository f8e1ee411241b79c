"""What the daemon says of itself and of the mesh to whoever looks in from outside."""

from __future__ import annotations

from consulguard.model import Value


class Health(Value, frozen=True, kw_only=True):
    """What the probes and gauges show."""

    alive: bool
    turned_at: float  # seconds since 1970: when the decision loop last turned
    ready: bool
    leader: bool
    view_trusted: bool
    incidents: dict[str, int]
    runs: int
    storm: bool
    paused: bool
    config_stale: bool = False
    clock_ahead_s: float = 0.0
    budgets: tuple[tuple[str, float], ...] = ()  # name and what is left of it, 0..1


class ServiceHealth(Value, frozen=True, kw_only=True):
    """One service, its worst where several share the name."""

    service: str
    datacenter: str
    state: str  # as in docs/health.md; unknown while the view is not trusted
    incident: str = ""  # the open one it is a member of

    @property
    def usable(self) -> bool:
        """Whether a monitor should call it up."""
        return self.state in ("passing", "warning", "recovering")
