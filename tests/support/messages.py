"""Sample drafts, messages and incidents for journal and notify tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consulguard.journal import Draft
from consulguard.model import Incident, IncidentState, Member, Message, Role, Root, State, Target

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def draft(number: int, *, kind: str = "event", size: int = 0) -> Draft:
    body = f"row {number}".encode().ljust(size, b".")
    return Draft(at=START + timedelta(seconds=number), kind=kind, body=body, epoch=min(number, 2))


def message(
    key: str = "inc-1",
    version: int = 1,
    *,
    severity: str = "critical",
    title: str = "",
    thread: tuple[str, ...] = (),
) -> Message:
    return Message(
        key=key,
        version=version,
        severity=severity,
        title=title or f"{key} v{version}",
        at=START + timedelta(seconds=version),
        thread=thread,
    )


def incident(name: str = "pay-api", affected: tuple[str, ...] = ("checkout", "cart", "frontend")) -> Incident:
    def member(service: str, role: Role) -> Member:
        target = Target(dc="dc1", service=service)
        return Member(kind="service", name=service, role=role, state=State.CRITICAL, since=START, target=target)

    return Incident(
        id="INC-7",
        state=IncidentState.OPEN,
        root=Root(kind="service", name=name, datacenter="dc1"),
        confidence=0.92,
        members=(member(name, Role.ROOT_CAUSE), *(member(each, Role.AFFECTED) for each in affected)),
        why=(f"2 of 2 instances of {name} are critical", "checkout calls it and failed 3 s later"),
        opened_at=START,
        updated_at=START,
        root_since=START,
    )
