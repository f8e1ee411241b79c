"""What would happen on the present topology if a service failed: only the engine is told so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from consulguard import correlate
from consulguard.engine import EngineState, step
from consulguard.events import Observed, ViewChanged
from consulguard.model import Observation, Status, Target

CHECK = "simulated:"  # a check's id is unique on its node: the instance's follows


def fail(state: EngineState, services: Sequence[str]) -> EngineState:
    """The state after all instances of the services have failed for as long as any playbook waits.

    ``state`` is consumed. The view is taken as settled, since one look never is; whether it is trusted stays as it
    was. Raises LookupError for a service that is not there.
    """
    targets = [target for name in services for target in _instances(state, name)]
    assert state.at is not None
    policy = state.policy
    longest = max([policy.guard.for_s, policy.guard.root_settle_s, *(p.match.for_s for p in state.playbooks)])
    for after_s in (0.0, 1.0):  # two looks, as a playbook wants them
        at = state.at + timedelta(seconds=after_s)
        seen = tuple(
            Observation(target=t, check=CHECK + t.instance, status=Status.CRITICAL, at=at) for t in targets
        )
        state, _ = step(state, Observed(at=at, observations=seen))
    assert state.at is not None
    later = state.at + timedelta(seconds=longest + 1.0)
    view = msgspec.structs.replace(state.view, settled=True, as_of=later)
    state, _ = step(state, ViewChanged(at=later, view=view))
    return state


def _instances(state: EngineState, name: str) -> tuple[Target, ...]:
    found = correlate.instances(state.book, name)
    if not found:
        raise LookupError(f"Consul knows no service {name!r} with instances")
    return found
