"""The doors of the daemon: control socket, HTTP, metrics."""

from consulguard.serve.control import Control, call
from consulguard.serve.http import Health, HttpDoor

__all__ = ["Control", "Health", "HttpDoor", "call"]
