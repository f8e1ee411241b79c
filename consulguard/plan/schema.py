"""The playbook language as pydantic models: what may be written, and what becomes of it.

The JSON Schema for editors comes from the same models. Rules that need more than one field are in ``rules.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from consulguard.model import (
    QUERY_MAX,
    Approval,
    Escalation,
    JsonObject,
    Limits,
    Match,
    Matcher,
    Mode,
    Playbook,
    Query,
    State,
    Step,
    UndoStep,
    Value,
    Verify,
    parse_condition,
)
from consulguard.plan.duration import format_duration
from consulguard.plan.matcher import parse_matcher
from consulguard.plan.strict import Duration, Share, SomeDuration, Strict

MAX_STEPS = 50

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
StepName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$")]
ActionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=64)]
Who = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@+-]{1,128}$")]
Fixture = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
]

RoleName = Literal["root_cause", "affected", "any"]
ScopeName = Literal["instance", "service", "node", "zone", "any"]
StateName = Literal["warning", "critical", "maintenance", "flapping", "vanished", "unknown"]
UnlessName = Literal["maintenance", "flapping", "untrusted_view"]
Outcome = Literal["notify_only", "observe", "waiting", "awaiting_approval", "allowed", "denied"]


def _matcher(text: str) -> str:
    try:
        parse_matcher(text)
    except ValueError as failure:
        raise PydanticCustomError("matcher", "{text}", {"text": str(failure)}) from None
    return text


MatcherText = Annotated[
    str,
    StringConstraints(max_length=2048),
    AfterValidator(_matcher),
    WithJsonSchema({"type": "string", "description": 'label="value", or with !=, =~, !~ (RE2, anchored)'}),
]


def _condition(text: str) -> str:
    try:
        parse_condition(text)
    except ValueError as failure:
        raise PydanticCustomError("condition", "{text}", {"text": str(failure)}) from None
    return text


class MatchModel(Strict):
    role: RoleName = Field("root_cause", description="the part the subject plays in its incident")
    scope: ScopeName = Field("service", description="what is acted upon; any is for playbooks without steps")
    states: list[StateName] = Field(["critical"], min_length=1, max_length=6)
    for_: Duration = Field(60.0, alias="for", description="how long it must have been so, without a break")
    matchers: list[MatcherText] = Field([], max_length=50, description="all of them must be true")
    unless: list[UnlessName] = Field(["maintenance", "flapping", "untrusted_view"], max_length=3)
    match_all: bool = Field(False, description="no matcher narrows the choice, and that is meant; never auto")

    def build(self) -> Match:
        return Match(
            role=self.role,
            scope=self.scope,
            states=tuple(State(s) for s in self.states),
            for_s=self.for_,
            matchers=_matchers(self.matchers),
            unless=tuple(self.unless),
            match_all=self.match_all,
        )


class AttemptsModel(Strict):
    max: int = Field(ge=0, le=10, description="0 allows none")
    window: SomeDuration


class GuardsModel(Strict):
    min_healthy: Share | None = Field(None, description="of the expected instances that must stay healthy")
    allow_last_instance: bool = Field(False, description="may touch a service's only instance; never auto")
    cooldown: SomeDuration | None = None
    attempts: AttemptsModel | None = None
    budget: Name | None = Field(None, description="a budget of the configuration, shared across playbooks")
    window: Name | None = Field(None, description="a change window of the configuration, besides the one for all")

    def build(self) -> Limits:
        return Limits(
            min_healthy=self.min_healthy,
            allow_last_instance=self.allow_last_instance,
            cooldown_s=self.cooldown,
            attempts_max=self.attempts.max if self.attempts else None,
            attempts_window_s=self.attempts.window if self.attempts else None,
            budget=self.budget or "",
            window=self.window or "",
        )


class ApproversModel(Strict):
    slack_usergroups: list[Who] = Field([], max_length=50)
    slack_users: list[Who] = Field([], max_length=50)
    users: list[Who] = Field([], max_length=50, description="names known to the command line and the API")


class ApprovalModel(Strict):
    approvers: ApproversModel = ApproversModel.model_construct()
    count: int = Field(1, ge=1, le=5)
    forbid_self: bool = True
    ttl: SomeDuration = 900.0

    def build(self) -> Approval:
        named = self.approvers.model_dump(exclude_defaults=True)
        return Approval(
            approvers={kind: tuple(who) for kind, who in named.items() if who},
            count=self.count,
            forbid_self=self.forbid_self,
            ttl_s=self.ttl,
        )


class UndoModel(Strict):
    uses: ActionName
    with_: dict[str, Any] = Field({}, alias="with")

    def build(self) -> UndoStep:
        return UndoStep(uses=self.uses, params=self.with_)


class RetryModel(Strict):
    count: int = Field(ge=0, le=5)
    interval: SomeDuration = 10.0


class StepModel(Strict):
    name: StepName
    uses: ActionName = Field(description="an action, such as consul.maintenance")
    with_: dict[str, Any] = Field({}, alias="with", description="its parameters; values may hold ${look.ups}")
    when: list[MatcherText] = Field([], max_length=20, description="do this step only if all are true")
    timeout: SomeDuration = 30.0
    retry: RetryModel | None = Field(None, description="after a failure that certainly did nothing")
    undo: UndoModel | None = None

    def build(self) -> Step:
        return Step(
            name=self.name,
            uses=self.uses,
            params=self.with_,
            when=_matchers(self.when),
            timeout_s=self.timeout,
            retry_count=self.retry.count if self.retry else 0,
            retry_interval_s=self.retry.interval if self.retry else 10.0,
            undo=self.undo.build() if self.undo else None,
        )


class VerifyTargetModel(Strict):
    passing_for: int = Field(3, ge=0, le=20, description="good looks in a row; 0: only the dependents count")
    replaced: bool = Field(False, description="the instance may be gone if one more of its service passes instead")


class DependentsModel(Strict):
    depth: int = Field(1, ge=0, le=3)
    required: bool = False


class PrometheusModel(Strict):
    query: str = Field(min_length=1, max_length=QUERY_MAX, description="PromQL; label values may hold ${look.ups}")
    expect: Annotated[str, AfterValidator(_condition)] = Field(
        description="what every sample of the answer must be: < 0.05"
    )

    def build(self) -> Query:
        return Query(text=self.query, expect=self.expect)


class VerifyModel(Strict):
    within: SomeDuration = 120.0
    target: VerifyTargetModel = VerifyTargetModel.model_construct()
    dependents: DependentsModel | None = None
    prometheus: PrometheusModel | None = Field(None, description="must hold at each good look too")

    def build(self) -> Verify:
        return Verify(
            within_s=self.within,
            passing_for=self.target.passing_for,
            replaced=self.target.replaced,
            dependents_depth=self.dependents.depth if self.dependents else 0,
            dependents_required=self.dependents.required if self.dependents else False,
            prometheus=self.prometheus.build() if self.prometheus else None,
        )


class EscalateModel(Strict):
    after: SomeDuration
    playbook: Name | None = None
    notify: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> EscalateModel:
        if (self.playbook is None) == (self.notify is None):
            raise PydanticCustomError("escalate", "name either a playbook or somebody to notify, not both")
        return self

    def build(self) -> Escalation:
        return Escalation(after_s=self.after, playbook=self.playbook or "", notify=self.notify or "")


class ExpectModel(Strict):
    matched: bool
    role: Literal["root_cause", "affected", "at_risk", "isolated"] | None = None
    steps: list[StepName] | None = Field(None, max_length=MAX_STEPS)
    outcome: Outcome | None = None


class StoryModel(Strict):
    name: str = Field(min_length=1, max_length=200)
    given: Fixture = Field(description="a recording beside the playbook, as the record command writes it")
    expect: ExpectModel

    def build(self) -> Story:
        expect = self.expect
        return Story(
            name=self.name,
            given=self.given,
            matched=expect.matched,
            role=expect.role or "",
            steps=None if expect.steps is None else tuple(expect.steps),
            outcome=expect.outcome or "",
        )


class PlaybookModel(Strict):
    name: Name
    description: str = Field("", max_length=2000)
    mode: Literal["observe", "approve", "auto"] = "observe"
    priority: int = Field(0, ge=-1000, le=1000, description="the highest matching one wins")
    match: MatchModel
    guards: GuardsModel = GuardsModel.model_construct()
    approval: ApprovalModel = ApprovalModel.model_construct()
    steps: list[StepModel] = Field(max_length=MAX_STEPS, description="an empty list: only tell people")
    verify: VerifyModel | None = None
    on_failure: Literal["undo", "hold"] = "hold"
    escalate: list[EscalateModel] = Field([], max_length=10)
    destructive: bool = Field(False, description="needs two people to approve")
    tests: list[StoryModel] = Field([], max_length=50)

    def build(self, digest: str, source: str) -> Playbook:
        return Playbook(
            id=self.name,
            digest=digest,
            source=source,
            description=self.description,
            mode=Mode(self.mode),
            priority=self.priority,
            match=self.match.build(),
            limits=self.guards.build(),
            approval=self.approval.build(),
            steps=tuple(s.build() for s in self.steps),
            verify=self.verify.build() if self.verify else None,
            on_failure=self.on_failure,
            escalate=tuple(e.build() for e in self.escalate),
            destructive=self.destructive,
        )


class Story(Value, frozen=True, kw_only=True):
    """One test of a playbook: a recording and what must come of it. Empty or None: not looked at."""

    name: str
    given: str  # path of the recording, beside the playbook's file
    matched: bool
    role: str = ""
    steps: tuple[str, ...] | None = None
    outcome: str = ""


class PlaybookFile(Value, frozen=True, kw_only=True):
    """All a playbook's file holds: what runs, and how it is tested."""

    playbook: Playbook
    tests: tuple[Story, ...] = ()


def _matchers(texts: list[str]) -> tuple[Matcher, ...]:
    return tuple(parse_matcher(t) for t in texts)


def json_schema() -> JsonObject:
    """The language as JSON Schema (draft 2020-12), for editors; docs/playbook.schema.json is this."""
    schema = PlaybookModel.model_json_schema(by_alias=True)
    _tidy(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "consulguard playbook",
        "description": "What to do about one kind of trouble in a Consul mesh. See docs/playbooks.md.",
    }


def _tidy(node: Any) -> None:
    """Show defaults as people write them: durations with a unit; nested defaults only once, where they belong."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    if not isinstance(node, dict):
        return
    default = node.get("default")
    if isinstance(default, float):
        node["default"] = format_duration(default)
    elif isinstance(default, dict):
        del node["default"]
    for key, inner in node.items():
        if key != "default":
            _tidy(inner)
