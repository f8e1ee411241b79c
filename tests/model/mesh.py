"""The simulated world: a small mesh, its targets, the wire to them, and what the operator configured.

Four services of three instances each; ``web`` calls ``db``. Each service has a target of its own kind behind it,
and one playbook: two are fenced (they remember attempt ids and the highest epoch), ``api`` is idempotent and
``job`` is neither. ``db`` asks two people first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, ClassVar

from consulguard.act import ActContext, Action
from consulguard.act.base import Ending, Strict, done
from consulguard.act.text import masked, tidy
from consulguard.errors import ActionRefused, ConsulRefused, ConsulUnavailable
from consulguard.events import Configured
from consulguard.model import (
    InstanceFact,
    Intent,
    Mode,
    NodeFact,
    Outcome,
    Playbook,
    ServiceFact,
    Status,
    Target,
    Upstream,
)
from consulguard.plan import parse
from consulguard.policy import CorrelatePolicy, GuardPolicy, HealthPolicy, Policy

from tests.model.loop import Time

FENCED, IDEMPOTENT, ONCE = "fenced", "idempotent", "once"
KINDS = {"web": FENCED, "db": FENCED, "api": IDEMPOTENT, "job": ONCE}
CALLS = {"web": ("db",), "db": (), "api": (), "job": ()}
COUNT = 3  # instances of each
SECRET = "hunter2-tr0ub4dor"  # in a header every action sends; the targets tell it back
PEOPLE = ("ann", "bob", "cid")
NEEDED = 2  # of them
CAP = 2  # runs of a playbook on one stable target ...
WINDOW_S = 600.0  # ... within this long
MIN_HEALTHY = 2  # of COUNT
MAX_OPEN = 1
VIEW_MAX_AGE_S = 30.0
CONFIRM_MAX_AGE_S = 5.0
TTL_S = 60.0  # of a question

POLICY = Policy(
    mode=Mode.AUTO,
    health=HealthPolicy(recovery_s=2.0, flap_changes=6, flap_window_s=20.0, calm_s=10.0),
    correlate=CorrelatePolicy(resolve_s=5.0, reopen_s=30.0),
    guard=GuardPolicy(
        max_open=MAX_OPEN,
        min_start_interval_s=1.0,
        budget_per_service_h=50,
        budget_total_h=200,
        for_s=5.0,
        cooldown_s=10.0,
        service_cooldown_s=10.0,
        attempts_max=CAP,
        attempts_window_s=WINDOW_S,
        view_max_age_s=VIEW_MAX_AGE_S,
        root_settle_s=2.0,
        confirm_max_age_s=CONFIRM_MAX_AGE_S,
        storm_cooldown_s=30.0,
    ),
    group_wait_s=1.0,
)
_HEAD = """
name: {service}
mode: {mode}
match: {{role: root_cause, scope: instance, states: [critical], for: 5s, matchers: ['service="{service}"']}}
verify: {{within: 20s, target: {{passing_for: 1}}}}
on_failure: {on_failure}
approval: {{approvers: {{users: [ann, bob, cid]}}, count: 2, ttl: 60s}}
steps:
"""
_STEP = """
  - name: {name}
    uses: sim.{kind}
    with: {{version: {version}, what: {name}}}
    timeout: 10s
    retry: {{count: 1, interval: 3s}}
"""
_UNDO = "    undo: {{uses: sim.{kind}, with: {{version: {version}, what: rejoin}}}}\n"


def playbook(service: str, version: int) -> Playbook:
    """The service's playbook as it is after so many edits."""
    kind, steps = KINDS[service], ("drain", "restart") if service == "web" else ("restart",)
    text = _HEAD.format(
        service=service,
        mode="approve" if service == "db" else "auto",
        on_failure="undo" if service == "web" else "hold",
    )
    for name in steps:
        text += _STEP.format(name=name, kind=kind, version=version)
        text += _UNDO.format(kind=kind, version=version) if name == "drain" else ""
    return parse(text, f"{service}.yaml")


_PLAYBOOKS: dict[int, tuple[Playbook, ...]] = {}


def configured(time: Time, version: int) -> Configured:
    """What the operator's files say after so many edits."""
    if version not in _PLAYBOOKS:
        _PLAYBOOKS[version] = tuple(playbook(service, version) for service in KINDS)
    infos = tuple(action.info() for action in (Fenced, Idempotent, Once))
    return Configured(at=time.now(), policy=POLICY, playbooks=_PLAYBOOKS[version], actions=infos)


def instance(service: str, number: int) -> Target:
    return Target(dc="dc1", service=service, node=f"n{number}", instance=f"{service}-{number}")


INSTANCES = tuple(instance(service, n) for service in KINDS for n in range(COUNT))


# ---- targets and the wire


@dataclass(slots=True)
class Request:
    """One try to reach a target, on the wire until somebody delivers or drops it."""

    intent: Intent
    sender: str
    answer: asyncio.Future[Ending]
    arrived: bool = False
    dropped: bool = False

    @property
    def on_wire(self) -> bool:
        return not self.arrived and not self.dropped


@dataclass(frozen=True, slots=True)
class Hit:
    """One effect, as the target recorded it."""

    target: Target
    intent: Intent
    second: float


@dataclass
class World:
    """The truth: what is healthy, what the targets did, and what is still on its way to them."""

    time: Time
    fences: bool = True  # whether fenced targets fence
    masks: bool = True  # whether actions mask what targets say
    truth: dict[Target, Status] = field(default_factory=lambda: dict.fromkeys(INSTANCES, Status.PASSING))
    index: int = 10
    indexes: dict[Target, int] = field(default_factory=lambda: dict.fromkeys(INSTANCES, 10))
    version: int = 1
    blind: bool = False  # whether a probe gets no answer
    requests: list[Request] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    seen: dict[Target, set[str]] = field(default_factory=dict)
    epochs: dict[Target, int] = field(default_factory=dict)

    def change(self, target: Target, status: Status) -> None:
        if self.truth[target] is not status:
            self.index += 1
            self.truth[target], self.indexes[target] = status, self.index

    def healthy(self, service: str) -> int:
        return sum(s is Status.PASSING for t, s in self.truth.items() if t.service == service)

    @property
    def wire(self) -> list[Request]:
        return [r for r in self.requests if r.on_wire]

    def deliver(self, request: Request, *, cures: bool) -> Ending:
        """The request reaches its target; the target's answer."""
        request.arrived = True
        intent, target = request.intent, request.intent.target
        if KINDS[target.service] == FENCED and self.fences:
            if intent.epoch < self.epochs.get(target, 0):
                raise ActionRefused(f"epoch {intent.epoch} is over")
            self.epochs[target] = intent.epoch
            if intent.id in self.seen.setdefault(target, set()):
                return done("it was done before", index=self.index)
            self.seen[target].add(intent.id)
        before = self.index
        self.hits.append(Hit(target, intent, self.time.seconds))
        if cures:
            self.change(target, Status.PASSING)
        return done("done", index=before)

    def happened(self, intent: Intent) -> Outcome:
        """What a look at the target tells. What is still on its way may happen yet: nobody can know."""
        if any(h.intent.id == intent.id for h in self.hits):
            return Outcome.DONE
        mine = [r for r in self.requests if r.intent.id == intent.id]
        if any(r.on_wire for r in mine):
            return Outcome.UNKNOWN
        return Outcome.RETRY

    def facts(self) -> tuple[ServiceFact | NodeFact, ...]:
        nodes = tuple(NodeFact(target=Target(dc="dc1", node=f"n{n}"), at=self.time.now()) for n in range(COUNT))
        return (*(self._service(name) for name in KINDS), *nodes)

    def _service(self, name: str) -> ServiceFact:
        found = tuple(
            InstanceFact(target=t, status=self.truth[t], checks=1) for t in INSTANCES if t.service == name
        )
        return ServiceFact(
            target=Target(dc="dc1", service=name),
            count=COUNT,
            nodes=tuple(f"n{n}" for n in range(COUNT)),
            instances=found,
            upstreams=tuple(Upstream(name=callee) for callee in CALLS[name]),
            at=self.time.now(),
        )


# ---- actions: real ones, with the wire in place of a network


class Params(Strict):
    version: int
    what: str


class _Call(Action[Params]):
    Params = Params
    touches: ClassVar[str] = "instance"

    def __init__(self, world: World, sender: str, send: Any) -> None:
        self._world, self._sender, self._send = world, sender, send

    def preview(self, intent: Intent, params: dict[str, Any]) -> str:
        return f"{self.name} on {intent.target.name}"

    async def do(self, params: Params, intent: Intent, ctx: ActContext) -> Ending:
        secrets = [v for host in ctx.settings.allowed_hosts for v in host.headers.values()]
        with ctx.effect(intent):
            request = Request(intent, self._sender, asyncio.get_running_loop().create_future())
            self._send(request)
            ending = await request.answer
        said = tidy(f"{ending.detail}, thank you for {' '.join(secrets)}")
        text = masked(said, secrets) if self._world.masks else said
        return Ending(outcome=ending.outcome, detail=text, index=ending.index, saved={"was": "serving"})

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        if self._world.blind:
            await asyncio.sleep(3600.0)
        return self._world.happened(intent)


class Fenced(_Call):
    name = "sim.fenced"
    idempotent = True


class Idempotent(_Call):
    name = "sim.idempotent"
    idempotent = True


class Once(_Call):
    name = "sim.once"


def trouble(how: str) -> Exception:
    """What an action meets when the answer does not come, or is a no."""
    return {
        "lost": ConsulUnavailable("the connection broke"),
        "unsent": ConsulUnavailable("connection refused", sent=False),
        "refused": ConsulRefused("no such thing", status=404),
        "crash": RuntimeError("a bug in the action"),
    }[how]
