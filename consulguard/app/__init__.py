"""The one place that wires the rooms together."""

from consulguard.app.daemon import Daemon, Rooms
from consulguard.app.past import fold
from consulguard.app.wiring import actions, assess, configured, context, ordered, refuse_broken

__all__ = ["Daemon", "Rooms", "actions", "assess", "configured", "context", "fold", "ordered", "refuse_broken"]
