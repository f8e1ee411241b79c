"""``wait``: nothing but time between two steps, for connections to drain or a cache to warm."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pydantic import Field

from consulguard.act.base import ActContext, Action, Ending, Strict, done
from consulguard.model import Intent, JsonObject, Outcome

LONGEST_S = 3600


class WaitParams(Strict):
    seconds: int = Field(ge=1, le=LONGEST_S)


class Wait(Action[WaitParams]):
    """Let time pass. The guards are asked again before the step that follows."""

    name: ClassVar[str] = "wait"
    Params: ClassVar[type[Strict]] = WaitParams
    touches: ClassVar[str] = "nothing"
    idempotent: ClassVar[bool] = True

    def preview(self, intent: Intent, params: JsonObject) -> str:
        return f"wait {self.parse(intent.target, params).seconds} s"

    async def do(self, params: WaitParams, intent: Intent, ctx: ActContext) -> Ending:
        with ctx.effect(intent):
            await asyncio.sleep(params.seconds)
        return done(f"{params.seconds} s have passed")

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        return Outcome.RETRY
