"""A situation in which every guard allows, and how to spoil it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from consulguard.events import Looked
from consulguard.guard.situation import Situation
from consulguard.model import (
    ActionInfo,
    Attempt,
    Incident,
    IncidentState,
    Intent,
    Match,
    Matcher,
    Mode,
    Playbook,
    Role,
    Root,
    State,
    Status,
    Subject,
    Target,
    Verify,
    View,
)
from consulguard.policy import Policy

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
PAY = Target(dc="dc1", service="pay-api", node="n1", instance="pay-1")
SHOP = Target(dc="dc1", service="shop", node="n9", instance="shop-1")
DRAIN = ActionInfo(name="consul.maintenance", idempotent=True, touches="instance", undoable=True)
RESTART = ActionInfo(name="exec.run", idempotent=False, touches="instance")
ROUTE = ActionInfo(name="consul.service_resolver", idempotent=True, touches="service", undoable=True)
TELL = ActionInfo(name="notify.page", idempotent=True, touches="nothing")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def scene(**changes: Any) -> Situation:
    """All is well for acting; ``changes`` are laid over it, see ``change``."""
    root = Root(kind="instance", name="pay-api", datacenter="dc1", node="n1", instance="pay-1")
    calm = Situation(
        at=NOW,
        phase="effect",
        policy=Policy(mode=Mode.AUTO),
        view=View(trusted=True, as_of=ago(1), settled=True, services=10, instances=40, nodes=10),
        intent=an_intent(PAY, id="run-1/0/1", action=DRAIN.name, params={"enable": True}),
        action=DRAIN,
        playbook=Playbook(
            id="drain",
            digest="d",
            source="drain.yaml:1",
            mode=Mode.AUTO,
            match=Match(scope="instance", matchers=(Matcher(name="service", op="=", value="pay-api"),)),
            verify=Verify(),
        ),
        subject=Subject(
            target=PAY,
            scope="instance",
            role=Role.ROOT_CAUSE,
            state=State.CRITICAL,
            since=ago(300),
            looks=5,
            expected=4,
            healthy=3,
        ),
        incident=Incident(
            id="INC-1",
            state=IncidentState.OPEN,
            root=root,
            confidence=0.9,
            members=(),
            why=(),
            opened_at=ago(300),
            updated_at=ago(300),
            root_since=ago(300),
        ),
        matched=1,
        graph_at=ago(30),
        looked=Looked(
            at=ago(0.1),
            key="run-1/0/1?confirm",
            target=PAY,
            status=Status.CRITICAL,
            healthy=3,
            registered=4,
            index=9,
        ),
    )
    return change(calm, **changes)


def change(value: Any, **changes: Any) -> Any:
    """``value`` with some fields replaced; a dict for a field that is itself a value changes that value."""
    fields: dict[str, Any] = {}
    for name, new in changes.items():
        old = getattr(value, name)
        nested = isinstance(new, dict) and isinstance(old, msgspec.Struct)
        fields[name] = change(old, **new) if nested else new
    return msgspec.structs.replace(value, **fields)


def an_intent(target: Target, **changes: Any) -> Intent:
    calm = Intent(
        id="run-2/0/1",
        action="exec.run",
        target=target,
        params={},
        expires_at=NOW + timedelta(seconds=30),
        epoch=1,
        playbook="other",
    )
    return msgspec.structs.replace(calm, **changes)


def an_attempt(seconds_ago: float, target: Target = PAY, **changes: Any) -> Attempt:
    """As the engine keeps it; of another playbook than the scene's unless told."""
    stable = msgspec.structs.replace(target, instance="").key
    calm = Attempt(playbook="other", target=stable, service=target.of_service().key, at=ago(seconds_ago))
    return msgspec.structs.replace(calm, **changes)


def instance(n: int, service: str = "pay-api") -> Target:
    return Target(dc="dc1", service=service, node=f"n{n}", instance=f"{service}-{n}")
