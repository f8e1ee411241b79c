"""What must be caught: in each of these, one of the parts that safety rests on is missing or broken.

``caught_by`` are the invariants that speak of the broken part; a mutant that only trips over another one has not
been caught by what was meant to catch it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from consulguard.app import Daemon
from consulguard.engine import EngineState
from consulguard.events import (
    AnyEffect,
    AnyEvent,
    Commanded,
    Configured,
    Do,
    Learned,
    LeaseChanged,
    Probe,
    Resulted,
)
from consulguard.journal import Draft, rows
from consulguard.model import Entry, Message, Outcome, Run, ServiceFact, View
from consulguard.policy import GuardPolicy

from tests.model.seams import Mutation

Stepped = tuple[EngineState, tuple[AnyEffect, ...]]
replace = msgspec.structs.replace


def lenient(given: Configured, **guard: Any) -> Configured:
    policy: GuardPolicy = replace(given.policy.guard, **guard)
    return replace(given, policy=replace(given.policy, guard=policy))


class JournalNoEpoch(Mutation):
    """The store takes an old leader's entries, and finds them a place."""

    unasked = frozenset({"I9"})
    focus = frozenset({"change_of_leader", "go_on", "stall", "tick"})
    caught_by = frozenset({"I4"})

    def session(self, real: Any) -> Any:
        class Unfenced(real):  # type: ignore[misc]
            def append(self, drafts: Sequence[Draft], messages: Sequence[Message]) -> int:
                self._last = rows.last(self._usable("append", True))
                return int(super().append(drafts, messages))

            def fence(self, con: sqlite3.Connection, entries: Sequence[Entry]) -> None:
                return None

        return Unfenced


class EffectBeforeIntent(Mutation):
    """What was decided is let go while it is being written down."""

    focus = frozenset({"full_cycle"})
    caught_by = frozenset({"I2"})

    def daemon(self, real: type[Daemon]) -> type[Daemon]:
        class Hasty(real):  # type: ignore[valid-type,misc]
            def _step(self, events: Sequence[AnyEvent]) -> Any:
                drafts, effects = super()._step(events)
                self._dispatch([e for e in effects if isinstance(e, Do)], ())
                return drafts, [e for e in effects if not isinstance(e, Do)]

        return Hasty


class RedriveUnfenced(Mutation):
    """Every action is taken for idempotent, and so done again after an unknown outcome."""

    focus = frozenset({"full_cycle", "change_of_leader"})
    caught_by = frozenset({"I1"})

    def configured(self, given: Configured) -> Configured:
        return replace(given, actions=tuple(replace(a, idempotent=True) for a in given.actions))


class LocalInflightOnly(Mutation):
    """A new leader counts only what it has begun itself."""

    unasked = frozenset({"I9", "I13"})
    focus = frozenset({"change_of_leader", "full_cycle"})
    caught_by = frozenset({"I1", "I3"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        if isinstance(event, LeaseChanged) and event.held:
            state.runs.clear()
        return super().step(state, event)


class IgnorePause(Mutation):
    """Pauses are kept and shown, and nobody looks at them."""

    unasked = frozenset({"I14"})
    focus = frozenset({"halted"})
    caught_by = frozenset({"I6"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        if isinstance(event, Commanded):
            return super().step(state, event)
        kept, state.pauses = state.pauses, []
        state, effects = super().step(state, event)
        state.pauses = kept
        return state, effects


class NewAttemptIdOnRedrive(Mutation):
    """What is done again after an unknown outcome gets an id the target has not seen."""

    focus = frozenset({"full_cycle", "change_of_leader"})
    caught_by = frozenset({"I1"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        state, effects = super().step(state, event)
        return state, tuple(self._renamed(state, e) for e in effects)

    def _renamed(self, state: EngineState, effect: AnyEffect) -> AnyEffect:
        if not isinstance(effect, Do):
            return effect
        run: Run = state.runs[effect.intent.id.split("/")[0]]
        if run.reason != "redriven":
            return effect
        intent = replace(effect.intent, id=f"{effect.intent.id}9")
        state.runs[run.id] = replace(run, intent=intent)
        return Do(intent=intent)


class NoCap(Mutation):
    """Nobody counts how often it was tried."""

    focus = frozenset({"again_and_again"})
    caught_by = frozenset({"I5"})

    def configured(self, given: Configured) -> Configured:
        return lenient(given, attempts_max=1000, cooldown_s=0.0, service_cooldown_s=0.0, error_budget_bad=1000)


class TargetNoFence(Mutation):
    """The target remembers neither attempts nor epochs."""

    fences = False
    focus = frozenset({"full_cycle", "change_of_leader", "arrives_late"})
    caught_by = frozenset({"I1", "I10"})


class ReplayDropsField(Mutation):
    """A snapshot forgets that an intent is on its way."""

    focus = frozenset({"full_cycle", "change_of_leader", "crash"})
    caught_by = frozenset({"I9"})

    def snapshot(self, body: bytes) -> bytes:
        kept = msgspec.json.decode(body)
        for run in kept.get("runs", {}).values():
            run.pop("sent", None)
        return msgspec.json.encode(kept)


class ReplayDropsAttempts(Mutation):
    """A snapshot forgets how often something was tried."""

    focus = frozenset({"full_cycle", "change_of_leader", "crash"})
    caught_by = frozenset({"I9"})

    def snapshot(self, body: bytes) -> bytes:
        kept = msgspec.json.decode(body)
        kept.pop("attempts", None)
        return msgspec.json.encode(kept)


class StaleViewActs(Mutation):
    """Whatever was seen last, and when, is believed."""

    unasked = frozenset({"I14"})
    focus = frozenset({"full_cycle", "view", "tick", "fail"})
    caught_by = frozenset({"I7"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        kept = state.view
        state.view = View(trusted=True, settled=True, as_of=event.at, instances=kept.instances)
        believed = state.view
        state, effects = super().step(state, event)
        if state.view is believed:
            state.view = kept
        return state, effects


class ApprovalReused(Mutation):
    """A button stands for whatever its playbook would do next."""

    focus = frozenset({"ask", "again_and_again"})
    caught_by = frozenset({"I8"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        state, effects = super().step(state, event)
        for old, question in [(i, q) for i, q in state.questions.items() if q.pending]:
            new = hashlib.sha256(question.run.playbook.id.encode()).hexdigest()[:32]
            del state.questions[old]
            state.questions[new] = replace(question, id=new)
        return state, effects


class SamePersonTwice(Mutation):
    """Two clicks are two people."""

    focus = frozenset({"ask"})
    caught_by = frozenset({"I8"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        if isinstance(event, Commanded) and event.command == "approve":
            event = replace(event, who=f"{event.who} {event.key}")
        return super().step(state, event)


class TimeoutIsNo(Mutation):
    """No answer is taken for certainly not done."""

    focus = frozenset({"full_cycle"})
    caught_by = frozenset({"I1"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        if isinstance(event, Resulted) and event.result.outcome is Outcome.UNKNOWN:
            event = replace(event, result=replace(event.result, outcome=Outcome.RETRY))
        return super().step(state, event)


class NoMinHealthy(Mutation):
    """The last ones that serve are not spared."""

    focus = frozenset({"outage"})
    caught_by = frozenset({"I12"})

    def configured(self, given: Configured) -> Configured:
        return lenient(given, min_healthy=0.0, max_share=1.0)


class NobodyLeansOnAnybody(Mutation):
    """What calls what is not known: a victim is healed while its culprit fails."""

    focus = frozenset({"outage"})
    caught_by = frozenset({"I11"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        if isinstance(event, Learned):
            facts = tuple(replace(f, upstreams=()) if isinstance(f, ServiceFact) else f for f in event.facts)
            event = replace(event, facts=facts)
        return super().step(state, event)


class ProbeForgotten(Mutation):
    """Neither a new leader nor the standing loop takes up what the old one could not find out."""

    focus = frozenset({"blind_probe", "change_of_leader"})
    caught_by = frozenset({"I13"})

    def step(self, state: EngineState, event: AnyEvent) -> Stepped:
        for run in state.active_runs():
            if run.reason == "probe":  # asked just now, each time it is looked at
                state.runs[run.id] = replace(run, updated_at=event.at)
        state, effects = super().step(state, event)
        if isinstance(event, LeaseChanged):
            effects = tuple(e for e in effects if not isinstance(e, Probe))
        return state, effects


class MessagesLost(Mutation):
    """What people should be told is not in the commit."""

    focus = frozenset({"fail", "tick"})
    caught_by = frozenset({"I15"})

    def session(self, real: Any) -> Any:
        class Silent(real):  # type: ignore[misc]
            def append(self, drafts: Sequence[Draft], messages: Sequence[Message]) -> int:
                return int(super().append(drafts, ()))

        return Silent


class SecretTold(Mutation):
    """What a target said goes into the journal as it is."""

    masks = False
    focus = frozenset({"full_cycle"})
    caught_by = frozenset({"I16"})


MUTANTS: tuple[type[Mutation], ...] = (
    JournalNoEpoch,
    EffectBeforeIntent,
    RedriveUnfenced,
    LocalInflightOnly,
    IgnorePause,
    NewAttemptIdOnRedrive,
    NoCap,
    TargetNoFence,
    ReplayDropsField,
    ReplayDropsAttempts,
    StaleViewActs,
    ApprovalReused,
    SamePersonTwice,
    TimeoutIsNo,
    NoMinHealthy,
    NobodyLeansOnAnybody,
    ProbeForgotten,
    MessagesLost,
    SecretTold,
)
