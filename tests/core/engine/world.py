"""A small mesh a -> b -> c for the engine, driven by hand: every event has its second."""

from datetime import UTC, datetime, timedelta

from consulguard.engine import EngineState, step
from consulguard.events import (
    Configured,
    Do,
    Learned,
    LeaseChanged,
    Look,
    Looked,
    Observed,
    Probe,
    Resulted,
    Tell,
    ViewChanged,
    Wake,
    Woke,
)
from consulguard.model import (
    ActionInfo,
    InstanceFact,
    Mode,
    NodeFact,
    Observation,
    Outcome,
    Result,
    RunState,
    ServiceFact,
    State,
    Status,
    Target,
    Upstream,
    View,
)
from consulguard.plan import parse
from consulguard.policy import Policy

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ACTIONS = (
    ActionInfo(name="consul.maintenance", idempotent=True, touches="instance", undoable=True),
    ActionInfo(name="exec.run", idempotent=False, touches="instance", idempotent_param=True),
)
DRAIN_AND_RESTART = """
name: drain-and-restart
mode: auto
match: {role: root_cause, scope: instance, states: [critical], for: 60s, matchers: ['service=~"a|b|c"']}
steps:
  - name: drain
    uses: consul.maintenance
    with: {enable: true, reason: "for ${incident.id}"}
    undo: {uses: consul.maintenance, with: {enable: false}}
  - name: restart
    uses: exec.run
    with: {argv: [/bin/restart, c], idempotent: false}
    retry: {count: 1, interval: 10s}
  - {name: rejoin, uses: consul.maintenance, with: {enable: false}}
verify: {within: 60s, target: {passing_for: 3}}
on_failure: undo
"""


def moment(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def instance(service: str, number: int = 0) -> Target:
    return Target(dc="dc1", service=service, node=f"n{number}", instance=f"{service}-{number}")


def service(name: str, upstreams: tuple[str, ...] = (), count: int = 3, **more) -> ServiceFact:
    instances = tuple(
        InstanceFact(target=instance(name, i), status=Status.PASSING, checks=1) for i in range(count)
    )
    return ServiceFact(
        target=Target(dc="dc1", service=name),
        count=count,
        nodes=tuple(f"n{i}" for i in range(count)),
        instances=instances,
        upstreams=tuple(Upstream(name=u) for u in upstreams),
        at=T0,
        **more,
    )


class World:
    """Keeps the state, every effect with its second, and what was journaled as events."""

    def __init__(
        self, playbook: str = DRAIN_AND_RESTART, mode: Mode = Mode.AUTO, policy: Policy | None = None
    ) -> None:
        self.state = EngineState()
        self.events: list = []
        self.effects: list = []
        playbooks = (parse(playbook, "test.yaml"),) if playbook else ()
        self.feed(Configured(at=T0, policy=policy or Policy(mode=mode), playbooks=playbooks, actions=ACTIONS))
        self.feed(LeaseChanged(at=T0, held=True, epoch=1))
        self.feed(Learned(at=T0, facts=(service("a", ("b",)), service("b", ("c",)), service("c"))))
        self.feed(
            Learned(at=T0, facts=tuple(NodeFact(target=Target(dc="dc1", node=f"n{i}"), at=T0) for i in range(3)))
        )
        self.view(0)

    def feed(self, event) -> list:
        """Step the event and return its effects, without the wakes."""
        self.events.append(event)
        self.state, effects = step(self.state, event)
        told = [e for e in effects if not isinstance(e, Wake)]
        self.effects += told
        return told

    def view(self, second: float, *, trusted: bool = True, instances: int = 30, settled: bool = True) -> list:
        view = View(
            trusted=trusted,
            reasons=() if trusted else ("leader: none",),
            services=3,
            instances=instances,
            nodes=3,
            as_of=moment(second),
            settled=settled,
        )
        return self.feed(ViewChanged(at=moment(second), view=view))

    def see(self, second: float, target: Target, status: Status, check: str = "http") -> list:
        seen = Observation(
            target=target,
            check=f"{target.instance}-{check}",
            status=status,
            at=moment(second),
            index=int(second) + 10,
        )
        return self.feed(Observed(at=moment(second), observations=(seen,)))

    def fail(self, second: float, target: Target | None = None) -> None:
        """A critical check, seen in two answers."""
        target = target or instance("c")
        self.see(second, target, Status.CRITICAL)
        self.see(second + 1, target, Status.CRITICAL)

    def wait(self, start: float, end: float) -> list:
        """Let time pass with a healthy view; returns the effects."""
        told = []
        second = start
        while second <= end:
            told += self.view(second)
            second += 5
        return told

    def confirm(self, second: float, status: Status = Status.CRITICAL, **more) -> list:
        """Answer the look that is waiting for a confirm-read."""
        look = self.last(Look)
        return self.feed(
            Looked(
                at=moment(second),
                key=look.key,
                target=look.target,
                status=status,
                **{"healthy": 2, "registered": 3, "index": 100, **more},
            )
        )

    def look(self, second: float, status: Status, index: int, **more) -> list:
        """Answer the look of a verification."""
        return self.confirm(second, status, index=index, **more)

    def result(self, second: float, outcome: Outcome, detail: str = "", index: int = 0) -> list:
        """Answer the last intent or probe."""
        asked = next(e for e in reversed(self.effects) if isinstance(e, Do | Probe))
        done = Result(
            intent_id=asked.intent.id,
            outcome=outcome,
            detail=detail,
            started_at=moment(second),
            ended_at=moment(second),
            index=index,
        )
        return self.feed(Resulted(at=moment(second), result=done))

    def all_steps_done(self) -> None:
        """Every step of a run in flight is done, each confirm-read in between seeing the drained target."""
        for second in (65, 67, 69):
            self.result(second, Outcome.DONE)
            if self.run.state is RunState.CONFIRMING:
                self.confirm(second + 1, Status.MAINTENANCE)

    def last(self, kind):
        return next(e for e in reversed(self.effects) if isinstance(e, kind))

    def done(self) -> list[tuple[str, str, object]]:
        """What was sent: intent id without the run, action, and whether maintenance was switched on."""
        sent = [e.intent for e in self.effects if isinstance(e, Do)]
        return [(i.id.split("/", 1)[1], i.action, i.params.get("enable")) for i in sent]

    def told(self, key: str | None = None) -> list:
        messages = [e.message for e in self.effects if isinstance(e, Tell)]
        return [m for m in messages if key is None or m.key == key]

    @property
    def run(self):
        return next(iter(self.state.runs.values()))

    @property
    def incident(self):
        return next(iter(self.state.book.incidents.values()))

    @property
    def plan(self):
        return next(iter(self.state.plans.values()))

    def to_first_effect(self) -> float:
        """c fails, the hold-down passes, the confirm-read agrees: the first step is on its way."""
        self.fail(1)
        self.wait(3, 63)
        self.confirm(64)
        return 64


__all__ = [
    "ACTIONS",
    "DRAIN_AND_RESTART",
    "T0",
    "Do",
    "Look",
    "Probe",
    "State",
    "Woke",
    "World",
    "instance",
    "moment",
]
