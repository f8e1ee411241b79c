"""Where a mutant gets in: every seam at which the model can be given something else than the real part."""

from __future__ import annotations

from typing import Any

from consulguard.app import Daemon
from consulguard.engine import EngineState, step
from consulguard.events import AnyEffect, AnyEvent, Configured


class Mutation:
    """Nothing is changed. A mutant overrides one of these."""

    fences = True  # whether fenced targets fence
    masks = True  # whether actions mask what targets say
    unasked: frozenset[str] = frozenset()  # invariants that look away, so that the one that is meant must see it
    focus: frozenset[str] = frozenset()  # the rules its stories are made of; none: all
    caught_by: frozenset[str] = frozenset()

    def step(self, state: EngineState, event: AnyEvent) -> tuple[EngineState, tuple[AnyEffect, ...]]:
        return step(state, event)

    def daemon(self, real: type[Daemon]) -> type[Daemon]:
        return real

    def session(self, real: Any) -> Any:
        return real

    def snapshot(self, body: bytes) -> bytes:
        return body

    def configured(self, given: Configured) -> Configured:
        return given
