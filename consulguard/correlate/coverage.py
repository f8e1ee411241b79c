"""Which failing things an incident's members stand for, and what state a member is in now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import service_key
from consulguard.correlate.survey import failing_states
from consulguard.model import Member, Role, State, Trouble
from consulguard.policy import CorrelatePolicy

_WORST = (
    State.CRITICAL,
    State.VANISHED,
    State.FLAPPING,
    State.UNKNOWN,
    State.WARNING,
    State.RECOVERING,
    State.MAINTENANCE,
    State.PASSING,
)


@dataclass(slots=True)
class Coverage:
    failing: dict[str, list[str]] = field(default_factory=dict)  # service key -> trouble keys that fail
    troubled: dict[str, list[str]] = field(
        default_factory=dict
    )  # service key -> trouble keys; the nodes' under ""
    states: dict[str, State] = field(default_factory=dict)  # service or trouble key -> the worst present state

    @staticmethod
    def of(graph: Graph, troubles: Mapping[str, Trouble], policy: CorrelatePolicy) -> Coverage:
        found = Coverage()
        fails = failing_states(policy)
        for key in sorted(troubles):
            trouble = troubles[key]
            found.states[key] = trouble.state
            if not trouble.target.service:
                found.troubled.setdefault("", []).append(key)
            else:
                service = graph.owner(service_key(trouble.target))
                worst = found.states.get(service, State.PASSING)
                found.states[service] = min(worst, trouble.state, key=_WORST.index)
                found.troubled.setdefault(service, []).append(key)
                if trouble.state in fails:
                    found.failing.setdefault(service, []).append(key)
        return found

    def keys(self, members: Iterable[Member]) -> list[str]:
        """The failing things these members stand for. A service is one itself: a hidden root has no other."""
        found: dict[str, None] = {}
        for member in members:
            if member.role is Role.AT_RISK or member.kind == "zone":
                continue
            key = member.target.key
            found[key] = None
            if member.kind == "service":
                found.update(dict.fromkeys(self.failing.get(key, ())))
        return list(found)

    def state(self, member: Member) -> State:
        """What a member is in; passing when nothing is told of it."""
        return self.states.get(member.target.key, State.PASSING) if member.kind != "zone" else State.PASSING
