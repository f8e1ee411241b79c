"""The HTTP door: metrics and probes. It answers without Consul, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from consulguard import __version__
from consulguard.model import Value

SHUTDOWN_S = 1.0  # a client that reads slowly does not keep us from ending
INCIDENT_STATES = ("open", "recovering", "resolved")


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


class HttpDoor:
    """``/metrics``, ``/-/healthy`` (fails only on a stuck loop) and ``/-/ready`` on ``host:port``."""

    def __init__(self, listen: str, health: Callable[[], Health]) -> None:
        host, _, port = listen.rpartition(":")
        self._address = (host.strip("[]") or "127.0.0.1", int(port))
        self._health = health
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthy(self, _: web.Request) -> web.Response:
        alive = self._health().alive
        return web.Response(text="ok\n" if alive else "the loop is stuck\n", status=200 if alive else 503)

    async def _ready(self, _: web.Request) -> web.Response:
        health = self._health()
        role = "leader" if health.leader else "standby"
        return web.Response(
            text=f"{role}\n" if health.ready else "starting\n", status=200 if health.ready else 503
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=expose(self._health()), content_type="text/plain", charset="utf-8")


def expose(health: Health) -> bytes:
    """The gauges in Prometheus's text format."""
    registry = CollectorRegistry()
    Gauge("consulguard_build_info", "Version.", ["version"], registry=registry).labels(__version__).set(1)
    plain = {
        "consulguard_up": ("Always 1: alert on its absence.", 1),
        "consulguard_heartbeat_timestamp_seconds": ("When the decision loop last turned.", health.turned_at),
        "consulguard_is_leader": ("Whether this replica acts.", health.leader),
        "consulguard_view_trusted": ("Whether what is seen of Consul may be acted upon.", health.view_trusted),
        "consulguard_remediations_in_flight": ("Runs that are not over.", health.runs),
        "consulguard_storm_brake": ("Whether the storm brake is on.", health.storm),
        "consulguard_paused": ("Whether somebody paused remediation.", health.paused),
        "consulguard_config_stale": ("Whether the files hold what could not be taken over.", health.config_stale),
        "consulguard_clock_ahead_seconds": ("How far our clock is ahead of the wall clock.", health.clock_ahead_s),
    }
    for name, (help_text, value) in plain.items():
        Gauge(name, help_text, registry=registry).set(value)
    incidents = Gauge("consulguard_incidents", "Incidents by state.", ["state"], registry=registry)
    for state in INCIDENT_STATES:
        incidents.labels(state).set(health.incidents.get(state, 0))
    return generate_latest(registry)
