"""A playbook's text to change in one place, and the things playbooks are about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from consulguard import plan
from consulguard.model import Incident, IncidentState, Playbook, Role, Root, State, Subject, Target

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

TEXT = """\
name: restart
description: A good playbook, changed by the tests.
mode: approve
priority: 50
match:
  role: root_cause
  scope: instance
  states: [critical]
  for: 90s
  matchers: ['service=~"pay-.*"', 'datacenter="dc1"']
  unless: [maintenance, flapping, untrusted_view]
guards:
  min_healthy: 50%
  cooldown: 15m
  attempts: {max: 3, window: 2h}
  budget: mesh-default
approval: {approvers: {slack_usergroups: [sre-oncall]}, count: 1, forbid_self: true, ttl: 15m}
steps:
  - name: drain
    uses: consul.maintenance
    with: {enable: true, reason: "consulguard ${incident.id}"}
    undo: {uses: consul.maintenance, with: {enable: false}}
    timeout: 10s
  - name: restart
    uses: exec.run
    when: ['meta.unit!=""']
    with: {argv: [/usr/bin/restart, "${target.meta.unit}"], idempotent: true}
    timeout: 120s
    retry: {count: 2, interval: 10s}
verify:
  within: 120s
  target: {passing_for: 3}
  dependents: {depth: 1, required: false}
on_failure: undo
escalate:
  - {after: 300s, playbook: fail-over}
  - {after: 600s, notify: oncall}
tests:
  - {name: asks, given: fixtures/pay.jsonl, expect: {matched: true, role: root_cause, steps: [drain, restart]}}
"""


def changed(*pairs: tuple[str, str], text: str = TEXT) -> str:
    """The good text with each first part replaced once; it must be there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def wrong(text: str) -> str:
    """The first error's sentence with its place; fails if there is none."""
    found = plan.read(text, "p.yaml")
    assert isinstance(found, tuple), "this should have been refused"
    return str(found[0])


def playbook(*pairs: tuple[str, str]) -> Playbook:
    return plan.parse(changed(*pairs), "p.yaml")


def subject(**fields: Any) -> Subject:
    target = Target(dc="dc1", service="pay-api", node="n1", instance="pay-api-1")
    known: dict[str, Any] = {
        "target": target,
        "scope": "instance",
        "role": Role.ROOT_CAUSE,
        "state": State.CRITICAL,
        "since": AT,
        "meta": {"unit": "pay-api"},
    }
    return Subject(**{**known, **fields})


def incident() -> Incident:
    return Incident(
        id="INC-7",
        state=IncidentState.OPEN,
        root=Root(kind="service", name="pay-api", datacenter="dc1"),
        confidence=0.9,
        members=(),
        why=(),
        opened_at=AT,
        updated_at=AT,
        root_since=AT,
    )
