"""The doors of the daemon: control socket, HTTP, metrics."""

from consulguard.serve.control import Control, call
from consulguard.serve.heartbeat import Heartbeat
from consulguard.serve.http import Health, HttpDoor

__all__ = ["Control", "Health", "Heartbeat", "HttpDoor", "call"]
