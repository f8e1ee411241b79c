"""The turn of the house: ``step(state, event) -> (state, effects)``. Pure, total, deterministic.

The same function serves the daemon, ``plan``, ``explain``, ``replay`` and the playbook tests.
"""

from consulguard.engine.state import EngineState, Plan, PlannedStep
from consulguard.engine.step import step

__all__ = ["EngineState", "Plan", "PlannedStep", "step"]
