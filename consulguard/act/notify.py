"""``notify``: a line in the incident's thread, at the step where it belongs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from consulguard.act.base import ActContext, Action, Ending, Strict, done
from consulguard.act.text import tidy
from consulguard.model import Intent, JsonObject, Outcome


class NotifyParams(Strict):
    text: str = Field(min_length=1, max_length=1000)

    @field_validator("text")
    @classmethod
    def _text(cls, text: str) -> str:
        if not text.replace("\n", " ").isprintable():
            raise ValueError("not text that can be shown: no control or invisible characters")
        return text


class Notify(Action[NotifyParams]):
    """Say something. The step's result is told in the incident's thread, and the text is its result."""

    name: ClassVar[str] = "notify"
    Params: ClassVar[type[Strict]] = NotifyParams
    touches: ClassVar[str] = "nothing"
    idempotent: ClassVar[bool] = True

    def preview(self, intent: Intent, params: JsonObject) -> str:
        return f"say {tidy(self.parse(intent.target, params).text)}"

    async def do(self, params: NotifyParams, intent: Intent, ctx: ActContext) -> Ending:
        with ctx.effect(intent):
            return done(params.text)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        return Outcome.RETRY
