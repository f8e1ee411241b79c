"""What health remembers: one memory per check that is not passing, the troubles they make, and what facts told.

``HealthState`` is encoded as it stands (msgspec.json). The look-up tables that make it quick live beside it in
``Index``: they are derived, never encoded, and built again when they are missing.
"""

from __future__ import annotations

import heapq
from datetime import datetime

import msgspec

from consulguard.model import HealthChange, State, Status, Target, Trouble
from consulguard.policy import HealthPolicy

OUTPUT_MAX = 500
"""Characters of a check's output that are kept."""


REGISTRATION = "registration"
"""The check id under which an instance is remembered that left a failing node; see ``facts``."""


class CheckMemory(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One check that is not passing, or was so within the flap window."""

    target: Target  # as Consul tells it: a sidecar's check is the sidecar's
    check: str
    state: State = State.PASSING
    seen: Status = Status.PASSING  # the last status Consul told; silence (unknown) is none
    since: datetime
    not_passing_since: datetime
    seen_at: datetime
    looks: int = 1
    index: int = 0
    output: str = ""
    cut: bool = False  # the output was longer than what is kept
    interval_s: float = 0.0  # 0: not known
    changes: tuple[datetime, ...] = ()  # the newest ones, oldest first
    due: datetime | None = None  # when time alone changes it


class KnownService(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What facts told of a service: how many instances, and which, as far as read in detail."""

    target: Target
    count: int = 0
    instances: list[Target] = msgspec.field(default_factory=list)


class HealthState(msgspec.Struct, kw_only=True, omit_defaults=True, dict=True):
    """Owned by one caller and changed in place. Without trouble and without facts it is empty."""

    checks: dict[str, CheckMemory] = msgspec.field(default_factory=dict)  # Observation.key
    troubles: dict[str, Trouble] = msgspec.field(default_factory=dict)  # Target.key: instances and nodes
    services: dict[str, Trouble] = msgspec.field(default_factory=dict)  # Target.key: services not passing
    known: dict[str, KnownService] = msgspec.field(default_factory=dict)  # Target.key of the service
    members: dict[str, dict[str, Target]] = msgspec.field(default_factory=dict)  # node key -> its instances
    folds: dict[str, Target] = msgspec.field(default_factory=dict)  # a sidecar's key -> the instance it serves


class Thing:
    """An instance or a node, with the memories of its checks (a destination's include its sidecar's)."""

    __slots__ = ("checks", "key", "level", "node", "service", "target")

    def __init__(self, key: str, target: Target) -> None:
        self.key = key
        self.target = target
        self.level = "instance" if target.instance else "node"
        self.node = target.of_node().key if target.instance else ""
        self.service = target.of_service() if target.instance else None
        self.checks: dict[str, CheckMemory] = {}


class Index:
    """Derived from the state, and only there to be quick."""

    __slots__ = ("heap", "home", "hosted", "left", "tally", "things")

    def __init__(self, state: HealthState) -> None:
        self.things: dict[str, Thing] = {}  # those with memories
        self.home: dict[str, Thing] = {}  # check key -> where its memory is
        self.hosted: dict[str, dict[str, Target]] = {}  # node key -> instances with memories or troubles
        self.left = 0  # how many of the memories are registrations
        self.tally: dict[str, dict[State, int]] = {}  # service key -> its instances that are not passing
        self.heap: list[tuple[datetime, str]] = []  # (due, check key); an entry is stale unless its memory agrees
        for key, memory in state.checks.items():
            self.attach(state, key, memory)
        self.reheap(state)
        for key, trouble in state.troubles.items():
            if trouble.target.instance:
                self.place(self.things.get(key) or Thing(key, trouble.target))
                self.count(trouble.target.of_service().key, None, trouble.state)

    def attach(self, state: HealthState, key: str, memory: CheckMemory) -> Thing:
        """Put a memory where it belongs."""
        thing = self.home.get(key)
        if thing is not None:
            return thing
        target = owner(state, memory.target)
        thing_key = target.key
        thing = self.things.get(thing_key)
        if thing is None:
            thing = self.things[thing_key] = Thing(thing_key, target)
            self.place(thing)
        thing.checks[key] = memory
        self.home[key] = thing
        self.left += memory.check == REGISTRATION
        return thing

    def detach(self, key: str) -> None:
        thing = self.home.pop(key)
        self.left -= thing.checks.pop(key).check == REGISTRATION
        if not thing.checks:
            del self.things[thing.key]

    def place(self, thing: Thing) -> None:
        """An instance with a memory or a trouble is on its node, whether or not facts told so."""
        if thing.node:
            self.hosted.setdefault(thing.node, {})[thing.key] = thing.target

    def displace(self, thing: Thing) -> None:
        hosted = self.hosted.get(thing.node, {})
        hosted.pop(thing.key, None)
        if not hosted:
            self.hosted.pop(thing.node, None)

    def count(self, service: str, was: State | None, now: State | None) -> None:
        tally = self.tally.setdefault(service, {})
        if was is not None:
            tally[was] -= 1
            if not tally[was]:
                del tally[was]
        if now is not None:
            tally[now] = tally.get(now, 0) + 1
        if not tally:
            del self.tally[service]

    def schedule(self, state: HealthState, key: str, due: datetime) -> None:
        heapq.heappush(self.heap, (due, key))
        if len(self.heap) > 4 * len(state.checks) + 64:
            self.reheap(state)

    def reheap(self, state: HealthState) -> None:
        self.heap = [(m.due, key) for key, m in state.checks.items() if m.due is not None]
        heapq.heapify(self.heap)


class Turn:
    """One call's work: what it may change, and what it touched on the way."""

    __slots__ = ("at", "changes", "index", "policy", "services", "state", "touched")

    def __init__(self, state: HealthState, at: datetime, policy: HealthPolicy) -> None:
        self.state = state
        self.index = index_of(state)
        self.at = at
        self.policy = policy
        self.changes: list[HealthChange] = []
        self.touched: dict[str, Target] = {}  # instances and nodes to judge anew
        self.services: dict[str, Target] = {}


def index_of(state: HealthState) -> Index:
    """The state's index, built when it is not there (after decoding)."""
    found: Index | None = state.__dict__.get("index")
    if found is None:
        found = state.__dict__["index"] = Index(state)
    return found


def owner(state: HealthState, target: Target) -> Target:
    """Whose trouble a check of ``target`` is: the node's, the instance's, or the one a sidecar serves."""
    if not target.instance:
        return target.of_node()
    return state.folds.get(target.key, target) if state.folds else target
