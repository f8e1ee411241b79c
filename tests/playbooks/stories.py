"""The stories of the shipped playbooks: a small mesh, what goes wrong in it, and who that concerns.

``python -m tests.playbooks.stories`` writes each story to ``playbooks/fixtures``, one JSON event a line, as the
journal keeps them. ``subjects_of`` gives what correlation makes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from consulguard.events import AnyEvent, Learned, Observed, ViewChanged, Woke
from consulguard.model import (
    InstanceFact,
    NodeFact,
    Observation,
    Role,
    ServiceFact,
    State,
    Status,
    Subject,
    Target,
    Upstream,
    View,
)

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STEP_S = 15.0  # between two looks of a recording
NODES = tuple(f"n{i:02d}" for i in range(1, 13))
SHOP = ("gateway", "frontend", "cart", "checkout", "payment", "search", "recommendations", "stock", "mail", "auth")


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What fails: these instances (all on check ``service:<id>``), or a whole node."""

    service: str = ""
    numbers: tuple[int, ...] = (1,)
    node: str = ""
    check: str = ""
    output: str = "connection refused"
    flaps: bool = False
    seconds: float = 240.0  # how long the recording goes on


@dataclass(frozen=True, kw_only=True)
class Story:
    trouble: Trouble
    scope: str  # of the subject
    meta: dict[str, str]
    state: State = State.CRITICAL
    tags: tuple[str, ...] = ()
    kind: str = ""


STORIES: dict[str, Story] = {
    "restart-instance": Story(
        trouble=Trouble(service="payment"), scope="instance", meta={"consulguard-restart-unit": "payment"}
    ),
    "restart-instance-over-http": Story(
        trouble=Trouble(service="search"), scope="instance", meta={"consulguard-restart-job": "search-restart"}
    ),
    "restart-instance-over-ssh": Story(
        trouble=Trouble(service="checkout"), scope="instance", meta={"consulguard-ssh-unit": "shop-checkout"}
    ),
    "restart-dead-sidecar": Story(
        trouble=Trouble(service="cart", check="service:cart-1-sidecar-proxy:1"),
        scope="instance",
        meta={"consulguard-sidecar-unit": "cart-envoy", "consulguard-restart-unit": "cart"},
    ),
    "restart-gateway": Story(
        trouble=Trouble(service="mesh-gw"),
        scope="instance",
        meta={"consulguard-gateway-unit": "mesh-gateway"},
        kind="mesh-gateway",
    ),
    "fail-over-service": Story(
        trouble=Trouble(service="payment", numbers=(1, 2, 3)),
        scope="service",
        meta={"consulguard-failover-datacenter": "dc2"},
    ),
    "shift-traffic-to-stable": Story(
        trouble=Trouble(service="frontend"),
        scope="instance",
        meta={"consulguard-stable-subset": "v1"},
        tags=("canary",),
    ),
    "quarantine-flapping-instance": Story(
        trouble=Trouble(service="recommendations", flaps=True),
        scope="instance",
        meta={"consulguard-quarantine": "allow"},
        state=State.FLAPPING,
    ),
    "drain-failing-node": Story(
        trouble=Trouble(node="n12", check="disk", output="/var is 99 % full"),
        scope="node",
        meta={"consulguard-drain": "allow"},
    ),
    "replace-lost-node": Story(
        trouble=Trouble(node="n12", check="serfHealth", output="Agent not live or unreachable", seconds=420.0),
        scope="node",
        meta={"consulguard-replace-pool": "web"},
    ),
    "degrade-service": Story(
        trouble=Trouble(service="recommendations", numbers=(1, 2, 3)),
        scope="service",
        meta={"consulguard-degrade-flag": "recommendations"},
    ),
    "shed-caller": Story(
        trouble=Trouble(service="stock", numbers=(1, 2, 3), output="time-out after 5 s"),
        scope="service",
        meta={"consulguard-shed-caller": "reports"},
    ),
    "restart-pod": Story(
        trouble=Trouble(service="stock"),
        scope="instance",
        meta={"consulguard-restart-pod": "allow", "pod-name": "stock-5d9c-x7k2p", "k8s-namespace": "shop"},
    ),
    "restart-workload": Story(
        trouble=Trouble(service="auth", numbers=(1, 2, 3)),
        scope="service",
        meta={"consulguard-restart-workload": "allow", "k8s-service-name": "auth", "k8s-namespace": "shop"},
    ),
    "tell-people": Story(trouble=Trouble(service="mail", numbers=(1, 2, 3)), scope="service", meta={}),
}


# ---- the mesh


def instance(service: str, number: int) -> Target:
    """Ten services of three instances each, four apart: no node has more than three."""
    first = SHOP.index(service) if service in SHOP else len(SHOP)
    node = NODES[(first + 4 * (number - 1)) % len(NODES)]
    return Target(dc="dc1", service=service, node=node, instance=f"{service}-{number}")


def facts_of(story: Story) -> tuple[ServiceFact | NodeFact, ...]:
    names = (*SHOP, "mesh-gw") if story.trouble.service == "mesh-gw" else SHOP
    services = [_service(name, story) for name in names]
    members = {n: [i.target for s in services for i in s.instances or () if i.target.node == n] for n in NODES}
    nodes = [_node(name, tuple(members[name]), story) for name in NODES]
    return (*services, *nodes)


def _service(name: str, story: Story) -> ServiceFact:
    concerned = name == story.trouble.service
    meta = story.meta if concerned else {}
    found = []
    for number in (1, 2, 3):
        bad = concerned and number in story.trouble.numbers
        tags = story.tags if concerned and number in story.trouble.numbers else ()
        found.append(
            InstanceFact(
                target=instance(name, number),
                address=f"10.0.0.{number}",
                port=8080,
                tags=tags,
                meta=meta,
                status=Status.CRITICAL if bad else Status.PASSING,
                checks=1,
            )
        )
    callee = SHOP[SHOP.index(name) + 1] if name in SHOP[:-1] else ""
    return ServiceFact(
        target=Target(dc="dc1", service=name),
        kind=story.kind if concerned else "",
        count=3,
        nodes=tuple(i.target.node for i in found),
        upstreams=(Upstream(name=callee),) if callee else (),
        depends_on=(callee,) if callee else (),
        meta=meta,
        instances=tuple(found),
        index=100,
        at=START,
    )


def _node(name: str, members: tuple[Target, ...], story: Story) -> NodeFact:
    return NodeFact(
        target=Target(dc="dc1", node=name),
        address=f"10.1.0.{NODES.index(name) + 1}",
        zone=f"z{NODES.index(name) % 3 + 1}",
        meta=story.meta if name == story.trouble.node else {},
        instances=members,
        at=START,
    )


# ---- what happens


def events_of(story: Story) -> list[AnyEvent]:
    """A settled, trusted view; the mesh; the trouble; and then looks until every hold-down is over."""
    events: list[AnyEvent] = [
        ViewChanged(at=START, view=_view(START)),
        Learned(at=START, facts=facts_of(story)),
    ]
    count = int(story.trouble.seconds / STEP_S)
    for number in range(count + 1):
        at = START + timedelta(seconds=1 + number * STEP_S)
        status = Status.PASSING if story.trouble.flaps and number % 2 else Status.CRITICAL
        looks = tuple(_look(target, status, story, number, at) for target in _targets(story.trouble))
        events += [ViewChanged(at=at, view=_view(at)), Observed(at=at, observations=looks), Woke(at=at)]
    return events


def _view(at: datetime) -> View:
    counts = {"services": len(SHOP), "instances": 3 * len(SHOP), "nodes": len(NODES)}
    return View(trusted=True, as_of=at, settled=True, settled_at=START, version="1.8.7", **counts)


def _targets(trouble: Trouble) -> tuple[Target, ...]:
    if trouble.node:
        return (Target(dc="dc1", node=trouble.node),)
    return tuple(instance(trouble.service, n) for n in trouble.numbers)


def _look(target: Target, status: Status, story: Story, number: int, at: datetime) -> Observation:
    moved = story.trouble.flaps or number == 0
    return Observation(
        target=target,
        check=story.trouble.check or f"service:{target.instance}",
        status=status,
        output=story.trouble.output,
        index=200 + number if moved else 200,
        at=at,
        interval_s=10.0,
        changed=moved,
    )


# ---- whom it concerns


def subjects_of(story: Story) -> tuple[Subject, ...]:
    """The root's subjects by hand, to vary them; the recording itself goes through the engine."""
    targets = _targets(story.trouble)
    if story.scope == "service":
        targets = (targets[0].of_service(),)
    return tuple(_subject(target, story) for target in targets)


def _subject(target: Target, story: Story) -> Subject:
    return Subject(
        target=target,
        scope=story.scope,
        role=Role.ROOT_CAUSE,
        state=story.state,
        since=START,
        looks=5,
        tags=story.tags,
        meta=story.meta,
        checks=(story.trouble.check or f"service:{target.instance}",),
        output=story.trouble.output,
        kind=story.kind,
        expected=3,
        healthy=3 - len(story.trouble.numbers),
    )


def text_of(story: Story) -> str:
    encode: Callable[[AnyEvent], bytes] = msgspec.json.encode
    return "".join(encode(event).decode() + "\n" for event in events_of(story))


def main() -> None:
    (PLAYBOOKS / "fixtures").mkdir(exist_ok=True)
    for name, story in STORIES.items():
        (PLAYBOOKS / "fixtures" / f"{name}.jsonl").write_text(text_of(story))


if __name__ == "__main__":
    main()
