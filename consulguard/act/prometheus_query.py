"""``prometheus.query``: go on only if what Prometheus measures is as expected."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from consulguard.act.base import ActContext, Action, Ending, Strict, done, failed, retry
from consulguard.act.text import tidy
from consulguard.errors import NotSent
from consulguard.model import QUERY_MAX, Intent, JsonObject, Outcome, Query, parse_condition

IN_TIME = 0.9  # of the step's timeout: a question that was not answered has changed nothing, and is not UNKNOWN


class PrometheusParams(Strict):
    query: str = Field(min_length=1, max_length=QUERY_MAX)
    expect: str = Field(max_length=64)

    @field_validator("expect")
    @classmethod
    def _expect(cls, expect: str) -> str:
        parse_condition(expect)
        return expect


class PrometheusQuery(Action[PrometheusParams]):
    """A gate: the steps after it are reached only when the condition holds. Nothing is changed."""

    name: ClassVar[str] = "prometheus.query"
    Params: ClassVar[type[Strict]] = PrometheusParams
    touches: ClassVar[str] = "nothing"
    idempotent: ClassVar[bool] = True

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        return f"ask Prometheus, and go on if {tidy(parsed.query)} is {parsed.expect}"

    async def do(self, params: PrometheusParams, intent: Intent, ctx: ActContext) -> Ending:
        prometheus = ctx.settings.prometheus
        if prometheus is None:
            return failed("Prometheus is not configured: set actions.prometheus.address")
        with ctx.effect(intent):
            try:
                query = Query(text=params.query, expect=params.expect)
                asked = await prometheus.ask(query, within_s=intent.timeout_s * IN_TIME)
            except NotSent as error:
                return retry(str(error))
        # What does not hold now may hold later: RETRY, so that the step's ``retry`` can wait for it.
        return done(asked.text) if asked.ok else retry(asked.text)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        return Outcome.RETRY
