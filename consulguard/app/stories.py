"""A playbook's story: a recorded view goes through the engine, and what comes of it is held against the story."""

from __future__ import annotations

from collections.abc import Sequence

from consulguard import correlate
from consulguard.engine import EngineState, Plan, step
from consulguard.events import AnyEvent, Configured, LeaseChanged
from consulguard.model import ActionInfo, Decision, Mode, Playbook
from consulguard.plan import Story
from consulguard.policy import Policy


def problems(
    playbook: Playbook, story: Story, events: Sequence[AnyEvent], known: Sequence[ActionInfo]
) -> list[str]:
    """What differs from what the story expects, one sentence each; empty when it holds."""
    state = told(playbook, events, known)
    plan = next((p for p in state.plans.values() if p.playbook is not None), None)
    found = []
    if (plan is not None) != story.matched:
        because = "; ".join(c.because for p in state.plans.values() for c in p.considered) or "nothing fails"
        found.append(f"expected matched: {story.matched}, got {plan is not None} ({because})")
    if plan is None:
        return found
    steps = tuple(s.name for s in plan.steps)
    if story.steps is not None and steps != story.steps:
        found.append(f"expected steps {list(story.steps)}, got {list(steps)}")
    if story.role and story.role not in _roles(state, plan):
        found.append(f"expected role {story.role}, got {', '.join(_roles(state, plan)) or 'none'}")
    if story.outcome and outcome(plan) != story.outcome:
        why = f" ({plan.steps[0].verdict.guard}: {plan.steps[0].verdict.reason})" if plan.steps else ""
        found.append(f"expected outcome {story.outcome}, got {outcome(plan)}{why}")
    return found


def told(playbook: Playbook, events: Sequence[AnyEvent], known: Sequence[ActionInfo]) -> EngineState:
    """The state after the recording, with this playbook alone and a policy that would let it act."""
    at = events[0].at
    policy = Policy(mode=Mode.AUTO)
    state, _ = step(EngineState(), Configured(at=at, policy=policy, playbooks=(playbook,), actions=tuple(known)))
    state, _ = step(state, LeaseChanged(at=at, held=True, epoch=1, reason="story"))
    for event in events:
        state, _ = step(state, event)
    return state


def outcome(plan: Plan) -> str:
    """Where the plan stands, in the words of a story."""
    if not plan.steps:
        return "notify_only"
    first = plan.steps[0].verdict
    if first.decision is Decision.DENY and first.guard == "mode":
        return "observe"
    words = {Decision.ALLOW: "allowed", Decision.ASK: "awaiting_approval", Decision.WAIT: "waiting"}
    return words.get(first.decision, "denied")


def _roles(state: EngineState, plan: Plan) -> list[str]:
    incident = correlate.find(state.book, plan.incident_id)
    if incident is None or not plan.steps or plan.steps[0].intent is None:
        return [m.role.value for m in incident.members] if incident else []
    target = plan.steps[0].intent.target
    return [m.role.value for m in incident.members if m.target in (target, target.of_service())]
