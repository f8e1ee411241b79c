"""What Consul told, made into states: one machine per check, gathered into instances, nodes and services."""

from consulguard.health.facts import learn
from consulguard.health.memory import HealthState
from consulguard.health.mermaid import to_mermaid
from consulguard.health.observe import known, next_wake, observe, state_of, tick, troubles
from consulguard.health.tables import TABLES, Machine

__all__ = [
    "TABLES",
    "HealthState",
    "Machine",
    "known",
    "learn",
    "next_wake",
    "observe",
    "state_of",
    "tick",
    "to_mermaid",
    "troubles",
]
