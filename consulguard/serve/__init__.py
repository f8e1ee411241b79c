"""The doors of the daemon: control socket, HTTP, metrics."""

from consulguard.serve.control import Control, call
from consulguard.serve.health import Health, ServiceHealth
from consulguard.serve.heartbeat import Heartbeat
from consulguard.serve.http import HttpDoor, Shown, Sights
from consulguard.serve.metrics import Metrics
from consulguard.serve.several import Several
from consulguard.serve.spans import Span, TraceSettings

__all__ = [
    "Control",
    "Health",
    "Heartbeat",
    "HttpDoor",
    "Metrics",
    "ServiceHealth",
    "Several",
    "Shown",
    "Sights",
    "Span",
    "TraceSettings",
    "call",
]
