"""May we? One file per guard, run in the order of ``order.py``. Pure."""

from consulguard.guard.modes import effective_mode
from consulguard.guard.order import ORDER, combine, judge, would
from consulguard.guard.reach import stable_key

__all__ = ["ORDER", "combine", "effective_mode", "judge", "stable_key", "would"]
