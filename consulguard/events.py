"""What enters ``engine.step`` (events) and what leaves it (effects). Both are data; both are journaled.

Every event carries ``at``, the moment it entered the house: the quiet rooms know no other clock.
"""

from __future__ import annotations

from datetime import datetime

from consulguard.model import (
    ActionInfo,
    CallRate,
    DoorAnswer,
    Fact,
    Intent,
    JsonObject,
    Message,
    Neighbour,
    Observation,
    Playbook,
    Query,
    Result,
    Status,
    Target,
    Value,
    View,
)
from consulguard.policy import Policy

# ---- events


class Event(Value, frozen=True, kw_only=True, tag_field="event", tag=True):
    at: datetime


class Configured(Event, frozen=True, kw_only=True):
    """Policy and playbooks in force from now on. The first event of a journal, and of every reload."""

    policy: Policy
    playbooks: tuple[Playbook, ...]
    actions: tuple[ActionInfo, ...] = ()
    stale: str = ""  # why the files say something else than what is in force; empty: they do not


class Started(Event, frozen=True, kw_only=True):
    """A new process took over: every intent without a result is UNKNOWN from here."""

    life: str  # random id of this process life
    version: str


class Observed(Event, frozen=True, kw_only=True):
    observations: tuple[Observation, ...]


class Learned(Event, frozen=True, kw_only=True):
    facts: tuple[Fact, ...]


class CallsMeasured(Event, frozen=True, kw_only=True):
    """Calls between services that fare otherwise than was last said. Nothing holds beyond this process's life."""

    rates: tuple[CallRate, ...] = ()
    lost: str = ""  # why nothing is known of any call from now on; empty: measured


class Knocked(Event, frozen=True, kw_only=True):
    """How services met a ``Knock``. Nothing holds beyond this process's life."""

    answers: tuple[DoorAnswer, ...]


class HeardOf(Event, frozen=True, kw_only=True):
    """What another unit says of its failing services; it replaces what that unit said before."""

    unit: str
    failing: tuple[Neighbour, ...] = ()
    lost: bool = False  # nothing has been heard of it for too long: how its services are is not known


class ViewChanged(Event, frozen=True, kw_only=True):
    view: View


class Looked(Event, frozen=True, kw_only=True):
    """The answer to a ``Look``: a ``?consistent`` read of one target. ``error``: it could not be read."""

    key: str
    target: Target
    error: str = ""
    status: Status = Status.UNKNOWN  # worst of the target's checks, its node's included; ABSENT: not registered
    healthy: int = 0  # passing instances of the service
    registered: int = 0
    index: int = 0
    dependents: dict[str, Status] = {}  # name -> worst status, where they were asked for
    query_ok: bool | None = None  # whether the look's query is as expected; None: not asked, or nobody can tell
    query_text: str = ""  # what Prometheus said, as a sentence
    holds: tuple[str, ...] = ()  # what the intent's action has against doing it now


class Resulted(Event, frozen=True, kw_only=True):
    result: Result


class Commanded(Event, frozen=True, kw_only=True):
    """A person said something: pause, resume, stop, approve, deny, ack ..."""

    command: str
    who: str
    args: JsonObject = {}
    key: str = ""  # of the ``Reply`` somebody waits for


class LeaseChanged(Event, frozen=True, kw_only=True):
    held: bool
    epoch: int
    reason: str = ""


class Woke(Event, frozen=True, kw_only=True):
    """A deadline asked for with ``Wake`` has come."""

    key: str = ""


AnyEvent = (
    Configured
    | Started
    | Observed
    | Learned
    | CallsMeasured
    | Knocked
    | HeardOf
    | ViewChanged
    | Looked
    | Resulted
    | Commanded
    | LeaseChanged
    | Woke
)

# ---- effects


class Effect(Value, frozen=True, kw_only=True, tag_field="effect", tag=True):
    pass


class Do(Effect, frozen=True, kw_only=True):
    """Carry out the intent; a ``Resulted`` comes back. Journaled before it is dispatched."""

    intent: Intent


class Probe(Effect, frozen=True, kw_only=True):
    """Find out whether an intent of unknown outcome happened; a ``Resulted`` comes back. Only reads."""

    intent: Intent


class Look(Effect, frozen=True, kw_only=True):
    """Read the target from Consul with ``?consistent``; a ``Looked`` with the same key comes back."""

    key: str
    target: Target
    intent: Intent | None = None  # whose action is asked as well whether it can be done now
    after_s: float = 0.0  # not before this long from now
    dependents: tuple[Target, ...] = ()
    query: Query | None = None  # to be put to Prometheus at the same time


class Knock(Effect, frozen=True, kw_only=True):
    """Probe this service at its own door, as the operator allows it; a ``Knocked`` comes back. Only reads."""

    service: Target


class Tell(Effect, frozen=True, kw_only=True):
    message: Message


class Wake(Effect, frozen=True, kw_only=True):
    """The next moment at which the state changes by time alone. Replaces the earlier wake of the same key."""

    at: datetime
    key: str = ""


class Watch(Effect, frozen=True, kw_only=True):
    """These are of interest now: read their details first (services of open incidents)."""

    targets: tuple[Target, ...]


class Reply(Effect, frozen=True, kw_only=True):
    """The answer to a ``Commanded`` with this key."""

    key: str
    ok: bool
    text: str
    blocked: bool = False  # a guard is against it: it may be right later
    incident: str = ""  # the one it is about
    subject: str = ""  # id of what it made or ended: a silence
    verb: str = ""  # of a click: what the button meant


AnyEffect = Do | Probe | Look | Knock | Tell | Wake | Watch | Reply

__all__ = [
    "AnyEffect",
    "AnyEvent",
    "CallsMeasured",
    "Commanded",
    "Configured",
    "Do",
    "Effect",
    "Event",
    "HeardOf",
    "Knock",
    "Knocked",
    "Learned",
    "LeaseChanged",
    "Look",
    "Looked",
    "Observed",
    "Probe",
    "Reply",
    "Resulted",
    "Started",
    "Tell",
    "ViewChanged",
    "Wake",
    "Watch",
    "Woke",
]
