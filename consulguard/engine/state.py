"""All the engine knows. Owned by one caller: ``step`` takes it in, changes it and hands it back.

It can be written as JSON and read back (the journal's snapshots) without losing anything that decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from consulguard import health
from consulguard.correlate import Book
from consulguard.guard.situation import Storm
from consulguard.health import HealthState
from consulguard.model import (
    ActionInfo,
    Attempt,
    Considered,
    Intent,
    Message,
    Mode,
    Pause,
    Playbook,
    Question,
    Run,
    Silence,
    State,
    Trouble,
    Value,
    Verdict,
    View,
)
from consulguard.policy import Policy, Route


class PlannedStep(Value, frozen=True, kw_only=True):
    """One step as it would be carried out now, and what every guard says of it."""

    name: str
    uses: str
    intent: Intent | None  # None: it cannot be filled in; ``problem`` says why
    verdict: Verdict
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""


class Plan(Value, frozen=True, kw_only=True):
    """What the playbooks say about one incident: which one matches, why not the others, and its steps."""

    incident_id: str
    run: Run | None = None  # as it would start
    playbook: Playbook | None = None
    effective_mode: Mode = Mode.OBSERVE
    matched: int = 0
    considered: tuple[Considered, ...] = ()
    steps: tuple[PlannedStep, ...] = ()
    at: datetime | None = None


class Told(Value, frozen=True, kw_only=True):
    """The last message of one key, so that only news is told and nothing is told twice."""

    version: int
    digest: str
    lines: int = 0  # thread lines told so far
    silenced: bool = False  # it was told that it is: until that is over there is nothing to add
    offers: tuple[str, ...] = ()  # ids of those under it, the newest last; some are over


class Ladder(msgspec.Struct, kw_only=True):
    """How far one playbook's escalation has come for one incident."""

    playbook: Playbook  # pinned when it was first chosen
    since: datetime
    rung: int = 0  # the next one
    now: str = ""  # the playbook the last rung put in charge


class Order(Value, frozen=True, kw_only=True):
    """A person put this playbook in charge of what fails in this service."""

    playbook: str
    service: str
    who: str
    asker: str = ""  # as ``Vote.voter``


class Standing(Value, frozen=True, kw_only=True):
    """An offer that was made, by its id, and what has become of it."""

    verb: str
    incident: str
    question: str = ""
    over: str = ""  # why it is good no more; empty: it is good
    over_at: datetime | None = None


class Addressed(msgspec.Struct, kw_only=True):
    """Who was told of one key, on which terms, and who is to be told again."""

    terms: dict[str, Route] = {}  # receiver -> its route, as it was when it was first told
    again: dict[str, datetime] = {}  # receiver -> when
    last: Message | None = None  # what they would be told; only where somebody would


class EngineState(msgspec.Struct, kw_only=True):
    policy: Policy = msgspec.field(default_factory=Policy)
    playbooks: tuple[Playbook, ...] = ()
    actions: dict[str, ActionInfo] = {}
    stale: str = ""  # why the playbook files say something else than what is in force
    view: View = msgspec.field(default_factory=lambda: View(trusted=False, reasons=("nothing seen yet",)))
    health: HealthState = msgspec.field(default_factory=HealthState)
    book: Book = msgspec.field(default_factory=Book)
    storm: Storm = msgspec.field(default_factory=Storm)
    orders: dict[str, Order] = {}  # incident id -> what a person ordered
    ladders: dict[str, list[Ladder]] = {}  # incident id -> in the order they were begun
    plans: dict[str, Plan] = {}  # incident id -> plan; open incidents only
    runs: dict[str, Run] = {}  # run id -> run, over or not, of open incidents
    attempts: list[Attempt] = []
    records: dict[str, list[str]] = {}  # playbook -> how its last runs ended, newest last; a person can clear it
    pauses: list[Pause] = []
    silences: dict[str, Silence] = {}  # by id: those to come, those in force, and for a while those that are over
    silenced: int = 0  # silences so far
    hushing: list[str] = []  # silences in force, as of the last turn
    hushed: dict[str, str] = {}  # active incident -> the silence that fits it
    offers: dict[str, Standing] = {}  # by id
    offered: int = 0  # offers so far
    touched: list[str] = []  # incidents a person changed in this turn
    questions: dict[str, Question] = {}  # by id: what people are asked, and for a while what they were asked
    asked: int = 0  # questions so far
    told: dict[str, Told] = {}
    addressed: dict[str, Addressed] = {}  # by the key of the message; empty without a route
    reminded: dict[str, int] = {}  # incident id -> reminders so far
    epoch: int = 0
    lease_held: bool = False
    life: str = ""
    at: datetime | None = None
    correlated_at: datetime | None = None
    planned_at: datetime | None = None  # when all open incidents were last planned
    watched_at: datetime | None = None  # when all that is open was last asked to be watched
    dirty: bool = True  # something moved since the incidents were last worked out

    def troubles(self) -> Mapping[str, Trouble]:
        """What is not passing. A target our own run put into maintenance still counts as what it was before."""
        found = health.troubles(self.health)
        ours: dict[str, Trouble] = {}
        for run in self.runs.values() if found else ():
            if not run.holds_target:  # most are over: nothing more is worked out for them
                continue
            trouble = found.get(run.subject.target.key)
            if trouble is not None and trouble.state is State.MAINTENANCE:
                ours[run.subject.target.key] = msgspec.structs.replace(trouble, state=run.subject.state)
        return {**found, **ours} if ours else found

    def silence_of(self, incident_id: str) -> Silence | None:
        """The silence in force that fits the incident."""
        found = self.hushed.get(incident_id)
        return self.silences.get(found) if found is not None else None

    def active_runs(self) -> list[Run]:
        """Runs that have touched the world, or are about to, and are not over."""
        return [r for r in self.runs.values() if not r.state.over]

    def started(self, incident_id: str) -> Run | None:
        """The run at work on an incident, if there is one."""
        return next((r for r in self.active_runs() if r.incident_id == incident_id), None)
