"""How things are and who is to blame: states, troubles, explanations, incidents."""

from __future__ import annotations

import enum
from datetime import datetime

from consulguard.model.base import Value
from consulguard.model.mesh import Target

# ---- health


class State(enum.StrEnum):
    """A machine's state, at every level."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"
    FLAPPING = "flapping"
    VANISHED = "vanished"
    UNKNOWN = "unknown"
    RECOVERING = "recovering"  # passing again, hold-down not yet over


class HealthChange(Value, frozen=True, kw_only=True):
    """A machine moved. ``check`` is empty for an instance, service or node."""

    target: Target
    level: str  # check, instance, service, node
    check: str = ""
    was: State
    now: State
    since: datetime
    flaps: int = 0
    evidence: str = ""
    reason: str = ""


class Trouble(Value, frozen=True, kw_only=True):
    """Something that is not passing, as correlate sees it: an instance or a node (never a single check)."""

    target: Target
    state: State
    since: datetime  # in this state
    not_passing_since: datetime
    looks: int = 1  # answers in which it was seen so
    checks: tuple[str, ...] = ()
    output: str = ""
    index: int = 0
    zone: str = ""  # the node's, where it is known


class Neighbour(Value, frozen=True, kw_only=True):
    """A service of another unit that fails, as that unit says."""

    target: Target
    state: State
    since: datetime
    cause: Target | None = None  # the other service it is blamed on there
    blames: str = ""  # the same in words, whatever it is; empty: itself


# ---- correlate


class Role(enum.StrEnum):
    ROOT_CAUSE = "root_cause"
    AFFECTED = "affected"
    AT_RISK = "at_risk"
    ISOLATED = "isolated"


class IncidentState(enum.StrEnum):
    OPEN = "open"
    RECOVERING = "recovering"  # nothing fails any more, hold-down not yet over
    RESOLVED = "resolved"
    MERGED = "merged"


class Root(Value, frozen=True, kw_only=True):
    kind: str  # service, instance, node, zone
    name: str  # the service's, node's or zone's name; for an instance its service's
    datacenter: str
    node: str = ""
    instance: str = ""
    partition: str = "default"
    namespace: str = "default"
    peer: str = ""


class Member(Value, frozen=True, kw_only=True):
    kind: str  # service, instance, node
    name: str
    role: Role
    state: State
    since: datetime
    target: Target


class Alternative(Value, frozen=True, kw_only=True):
    """Another cause that was considered."""

    root: Root
    confidence: float
    why: str  # it is less likely


class Explanation(Value, frozen=True, kw_only=True):
    """One cause and what it explains: the answer of the blame function."""

    root: Root
    confidence: float
    members: tuple[Member, ...]
    why: tuple[str, ...]
    alternatives: tuple[Alternative, ...] = ()
    inferred: bool = False  # the confidence is the chance that was inferred, not the plain rule's
    unknown: bool = False  # we do not know who is to blame: the root is only the likeliest


class Incident(Value, frozen=True, kw_only=True):
    id: str
    state: IncidentState
    root: Root
    confidence: float
    members: tuple[Member, ...]
    why: tuple[str, ...]
    opened_at: datetime
    updated_at: datetime
    root_since: datetime  # how long this root has been the answer
    resolved_at: datetime | None = None
    version: int = 1  # rises with each change worth telling
    reopened: int = 0
    alternatives: tuple[Alternative, ...] = ()
    unknown: bool = False  # as the explanation's
    merged_into: str = ""
    acked_by: str = ""  # a person has seen it and looks after it
    acked_at: datetime | None = None
    assigned_to: str = ""
    closed_by: str = ""  # a person closed it, or keeps it closed
    closed_why: str = ""
    kept_by: str = ""  # a person keeps it open, though nothing of it fails
    kept_why: str = ""

    @property
    def likelier(self) -> Alternative | None:
        """The likeliest other cause, where we do not know who is to blame and it is likelier than the root."""
        others = [other for other in self.alternatives if self.unknown and other.confidence > self.confidence]
        return max(others, key=lambda other: other.confidence, default=None)


class Subject(Value, frozen=True, kw_only=True):
    """Something a playbook may match: a member of an incident with all its labels."""

    target: Target
    scope: str  # instance, service, node, zone
    role: Role
    state: State
    since: datetime
    looks: int = 1
    zone: str = ""
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    checks: tuple[str, ...] = ()
    output: str = ""
    kind: str = ""  # the service's Consul kind
    expected: int = 0  # instances this service should have: max of the last 24 h, or declared
    healthy: int = 0
    depends_on_failing: tuple[str, ...] = ()  # critical services upstream of it
