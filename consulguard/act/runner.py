"""The door of the act room: every effect goes through ``perform``, every second look through ``probe``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import structlog

from consulguard.act.base import ActContext, Ending, done, ending_of, unknown
from consulguard.errors import ActionRefused, ConsulguardError
from consulguard.model import Intent, JsonObject, Outcome, Result

T = TypeVar("T")
log = structlog.get_logger(__name__)

PROBE_WITHIN_S = 15.0  # a probe is two or three reads


class Performer(Protocol):
    """What the runner needs of an action; ``act.base.Action`` has it, a plug-in may bring its own."""

    @property
    def overtime_s(self) -> float: ...
    def preview(self, intent: Intent, params: JsonObject) -> str: ...
    async def run(self, intent: Intent, ctx: ActContext) -> Result: ...
    async def undo(self, intent: Intent, ctx: ActContext) -> Result: ...
    async def probe(self, intent: Intent, ctx: ActContext) -> Outcome: ...


@runtime_checkable
class Cautious(Protocol):
    """An action that may have something against the moment; one that brings its own ``Performer`` need not."""

    async def ready(self, intent: Intent, ctx: ActContext) -> str: ...


Actions = Mapping[str, Performer]


async def perform(intent: Intent, actions: Actions, ctx: ActContext) -> Result:
    """Carry the intent out once and say how it ended; never raises but CancelledError.

    Nothing is sent for a dry run, after ``expires_at``, or in another epoch than the lease's. At the deadline
    (``timeout_s`` seconds, plus what the action needs to clean up) the outcome is UNKNOWN.
    """
    started = ctx.clock.now()
    result = await _safely(_perform(intent, actions, ctx), intent, ending_of)
    if isinstance(result, Ending):
        result = result.result(intent, started, ctx.clock.now())
    log.info(
        "act.ended", intent=intent.id, action=intent.action, outcome=result.outcome.value, detail=result.detail
    )
    return result


async def _perform(intent: Intent, actions: Actions, ctx: ActContext) -> Result | Ending:
    action = _find(intent, actions)
    if intent.dry_run:
        return done(f"DRY-RUN would {action.preview(intent, intent.params)}")
    ctx.gate(intent)
    limit = intent.timeout_s + action.overtime_s
    deadline: Any = None
    try:
        async with asyncio.timeout(limit) as deadline:
            return await (action.undo(intent, ctx) if intent.undo else action.run(intent, ctx))
    except TimeoutError:
        if deadline is not None and deadline.expired():
            return unknown(f"no answer within {intent.timeout_s:g} s: it may or may not have happened")
        raise


def _find(intent: Intent, actions: Actions) -> Performer:
    action = actions.get(intent.action)
    if action is None:
        raise ActionRefused(f"nobody knows the action {intent.action!a}")
    return action


async def probe(intent: Intent, actions: Actions, ctx: ActContext) -> Result:
    """Look whether an intent of unknown outcome happened: DONE, RETRY (certainly not) or UNKNOWN. Only reads."""
    started = ctx.clock.now()
    ending = await _safely(_probe(intent, actions, ctx), intent, _not_seen)
    return ending.result(intent, started, ctx.clock.now())


async def _probe(intent: Intent, actions: Actions, ctx: ActContext) -> Ending:
    try:
        async with asyncio.timeout(PROBE_WITHIN_S):
            outcome = await _find(intent, actions).probe(intent, ctx)
    except TimeoutError as error:
        return unknown(f"could not look: {error}")
    return Ending(outcome=outcome, detail=_PROBED[outcome])


async def ready(intent: Intent, actions: Actions, ctx: ActContext) -> tuple[str, ...]:
    """What the action itself has against doing the intent now; nothing for most. Only reads."""
    said = await _safely(_ready(intent, actions, ctx), intent, _not_seen)
    reason = said.detail if isinstance(said, Ending) else said
    return (reason,) if reason else ()


async def _ready(intent: Intent, actions: Actions, ctx: ActContext) -> str | Ending:
    try:
        async with asyncio.timeout(PROBE_WITHIN_S):
            action = _find(intent, actions)
            return await action.ready(intent, ctx) if isinstance(action, Cautious) else ""
    except TimeoutError as error:
        return unknown(f"could not look: {error or f'no answer within {PROBE_WITHIN_S:g} s'}")


def _not_seen(error: Exception) -> Ending:
    kind = "" if isinstance(error, ConsulguardError) else f"{type(error).__name__}: "
    return unknown(f"could not look: {kind}{error}")


async def _safely(work: Awaitable[T], intent: Intent, said: Callable[[Exception], Ending]) -> T | Ending:
    """The lane's door: a bug in an action must not stop the house."""
    try:
        return await work
    except ConsulguardError as error:
        return said(error)
    except Exception as error:
        log.exception("act.crashed", intent=intent.id, action=intent.action)
        return said(error)


_PROBED = {
    Outcome.DONE: "looked again: it happened",
    Outcome.RETRY: "looked again: it did not happen",
    Outcome.FAILED: "looked again: it failed",
    Outcome.UNKNOWN: "looked again: nothing tells whether it happened",
}

__all__ = ["Actions", "Performer", "perform", "probe", "ready"]
