"""What may be done about it: playbooks, runs, intents, verdicts, results, and what people are told."""

from __future__ import annotations

import enum
import hashlib
from datetime import datetime

import msgspec

from consulguard.model.base import JsonObject, Value
from consulguard.model.incident import Incident, State, Subject
from consulguard.model.mesh import Target
from consulguard.model.query import Query

# ---- plan


class Mode(enum.StrEnum):
    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"

    @property
    def rank(self) -> int:
        return ("observe", "approve", "auto").index(self.value)


class Matcher(Value, frozen=True, kw_only=True):
    """An Alertmanager matcher: ``name op value``; ``=~`` and ``!~`` are anchored RE2."""

    name: str
    op: str  # =, !=, =~, !~
    value: str


class Match(Value, frozen=True, kw_only=True):
    role: str = "root_cause"  # root_cause | affected | any
    scope: str = "service"  # instance | service | node | zone
    states: tuple[State, ...] = (State.CRITICAL,)
    for_s: float = 60.0
    matchers: tuple[Matcher, ...] = ()
    unless: tuple[str, ...] = ("maintenance", "flapping", "untrusted_view")
    match_all: bool = False


class Limits(Value, frozen=True, kw_only=True):
    """A playbook's own limits: they may only be stricter than the policy's. None: the policy's value holds."""

    min_healthy: float | None = None  # share 0..1 of the expected instances
    allow_last_instance: bool = False
    cooldown_s: float | None = None
    attempts_max: int | None = None
    attempts_window_s: float | None = None
    budget: str = ""
    window: str = ""


class UndoStep(Value, frozen=True, kw_only=True):
    uses: str
    params: JsonObject = {}


class Step(Value, frozen=True, kw_only=True):
    name: str
    uses: str
    params: JsonObject = {}  # the playbook's ``with``, look-ups not yet made
    when: tuple[Matcher, ...] = ()
    timeout_s: float = 30.0
    retry_count: int = 0
    retry_interval_s: float = 10.0
    undo: UndoStep | None = None


class Verify(Value, frozen=True, kw_only=True):
    within_s: float = 120.0
    passing_for: int = 3  # good observations newer than the effect
    replaced: bool = False  # the instance may come back under another id, as a pod does
    dependents_depth: int = 0
    dependents_required: bool = False
    prometheus: Query | None = None  # look-ups not yet made


class Escalation(Value, frozen=True, kw_only=True):
    after_s: float
    playbook: str = ""
    notify: str = ""


class Approval(Value, frozen=True, kw_only=True):
    approvers: dict[str, tuple[str, ...]] = {}
    count: int = 1
    forbid_self: bool = True
    ttl_s: float = 900.0


class Playbook(Value, frozen=True, kw_only=True):
    id: str  # its name, unique
    digest: str  # sha256 of the file's text
    source: str  # path:line
    description: str = ""
    mode: Mode = Mode.OBSERVE
    priority: int = 0
    match: Match = Match()
    limits: Limits = Limits()
    approval: Approval = Approval()
    steps: tuple[Step, ...] = ()
    verify: Verify | None = None
    on_failure: str = "hold"  # undo | hold
    escalate: tuple[Escalation, ...] = ()
    destructive: bool = False


class Considered(Value, frozen=True, kw_only=True):
    playbook: str
    matched: bool
    because: str


class RunState(enum.StrEnum):
    PLANNED = "planned"
    WAITING = "waiting"
    AWAITING_APPROVAL = "awaiting_approval"
    CONFIRMING = "confirming"  # the confirm-read just before an effect is under way
    EXECUTING = "executing"
    VERIFYING = "verifying"
    UNDOING = "undoing"
    ESCALATED = "escalated"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"  # only a person may go on

    @property
    def over(self) -> bool:
        return self in (RunState.DONE, RunState.FAILED, RunState.HELD, RunState.ESCALATED)


class ActionInfo(Value, frozen=True, kw_only=True):
    """What the quiet rooms must know of an action: the same for built-ins and plug-ins."""

    name: str
    idempotent: bool  # doing it twice is doing it once: may be re-driven after UNKNOWN
    touches: str  # instance, node, service, nothing: what it can hurt
    undoable: bool = False
    destructive: bool = False
    idempotent_param: bool = False  # the intent's own param ``idempotent`` may say so where the class does not


class Pause(Value, frozen=True, kw_only=True):
    who: str
    why: str
    since: datetime
    depth: str = "pause"  # pause: no new run, a running one ends its step and verifies; stop: no next step either
    until: datetime | None = None


class DoneStep(Value, frozen=True, kw_only=True):
    index: int
    intent_id: str
    saved: JsonObject | None = None


class Run(Value, frozen=True, kw_only=True):
    """One playbook at work on one subject. The playbook is pinned: a later edit does not change the run."""

    id: str
    incident_id: str
    playbook: Playbook
    subject: Subject
    state: RunState
    step: int = 0
    attempt: int = 1
    epoch: int = 0
    started_at: datetime
    updated_at: datetime
    intent: Intent | None = None  # the present step's, once planned
    verdicts: tuple[Verdict, ...] = ()
    retry_at: datetime | None = None
    stopped_at: datetime | None = None  # since when guards have let nothing more be done
    done: tuple[DoneStep, ...] = ()
    effects: int = 0  # dispatched intents
    redrives: int = 0  # of the present intent, after an unknown outcome
    sent: bool = False  # the present intent is dispatched and has no result yet
    effect_index: int = 0  # highest Consul index of our own effects
    good_looks: int = 0
    query: Query | None = None  # the verification's, with its look-ups made before the first effect
    deadline: datetime | None = None  # of the verification
    agreed: tuple[str, ...] = ()  # what people agreed to: ``Intent.effect`` of each step
    approved_until: datetime | None = None  # it must have begun by then
    reason: str = ""
    log: tuple[str, ...] = ()  # one line per move, for the thread

    @property
    def holds_target(self) -> bool:
        """Whether its target must be counted as being worked on."""
        return not self.state.over and (self.effects > 0 or self.state is RunState.CONFIRMING)

    def approved(self, intent: Intent, at: datetime) -> bool:
        """Whether people agreed to exactly this, or to what it takes back, and their agreement still holds."""
        if self.approved_until is None or (self.effects == 0 and at >= self.approved_until):
            return False
        return intent.undo or intent.effect in self.agreed


class Attempt(Value, frozen=True, kw_only=True):
    """One run start on a stable target, kept for cooldown, attempt cap and budgets."""

    playbook: str
    target: str  # stable key: service + node, never the instance id
    service: str
    at: datetime
    run: str = ""
    budget: str = ""  # the shared one it counts against
    outcome: str = ""  # "", verified, failed, inconclusive, escalated
    ended_at: datetime | None = None


class Intent(Value, frozen=True, kw_only=True):
    """What will be done, written down before it is done. ``id`` is the idempotency key run/step/attempt."""

    id: str
    action: str
    target: Target
    params: JsonObject
    expires_at: datetime  # no send after this
    epoch: int
    dry_run: bool = False
    timeout_s: float = 30.0
    incident_id: str = ""
    playbook: str = ""
    undo: bool = False
    saved: JsonObject | None = None  # for an undo: what the action returned in Result.saved

    @property
    def effect(self) -> str:
        """Equal exactly when the same would be done to the same thing: SHA-256 of action, target and params."""
        what = msgspec.json.encode((self.action, self.target, self.params), order="deterministic")
        return hashlib.sha256(what).hexdigest()


class Outcome(enum.StrEnum):
    DONE = "DONE"
    RETRY = "RETRY"  # certainly not done, may be tried again
    FAILED = "FAILED"  # certainly not done, trying again is no use
    UNKNOWN = "UNKNOWN"  # may or may not have happened


class Result(Value, frozen=True, kw_only=True):
    intent_id: str
    outcome: Outcome
    detail: str
    started_at: datetime
    ended_at: datetime
    index: int = 0  # Consul index at or after the effect
    saved: JsonObject | None = None  # what undo needs (the previous config entry ...)


# ---- guard


class Decision(enum.StrEnum):
    ALLOW = "ALLOW"
    WAIT = "WAIT"
    ASK = "ASK"
    DENY = "DENY"


class Verdict(Value, frozen=True, kw_only=True):
    intent_id: str
    decision: Decision
    guard: str
    reason: str
    retry_at: datetime | None = None


# ---- journal, notify


class Entry(Value, frozen=True, kw_only=True):
    """One line of the journal. ``hash`` covers this entry and, through ``previous``, all before it."""

    seq: int
    at: datetime
    epoch: int
    kind: str  # event, intent, message, mark
    version: int
    body: bytes
    previous: str
    hash: str


class Offer(Value, frozen=True, kw_only=True):
    """What a person may press under a message. The id cannot be guessed (128 bits) and is good once."""

    id: str
    verb: str  # approve, deny, silence, ack, explain, timeline, topology
    incident: str = ""
    question: str = ""  # what approve and deny answer
    confirm: str = ""  # asked before it counts: exactly what will be done, and to how many


class Message(Value, frozen=True, kw_only=True):
    """What people should read about one incident (or, with ``incident_id`` empty, about the whole)."""

    key: str  # incident id, or storm, view, pause ...: one message per key, edited in place
    version: int
    severity: str  # critical, warning, acknowledged, silenced, info, resolved
    title: str
    at: datetime
    incident: Incident | None = None
    facts: tuple[tuple[str, str], ...] = ()  # label, text
    thread: tuple[str, ...] = ()  # new lines for the thread: steps, verification
    text: str = ""
    offers: tuple[Offer, ...] = ()
    channels: tuple[str, ...] = ()  # the receivers it is for, by name; empty: all
    holds: dict[str, datetime] = {}  # receiver -> not to be told before


class OutboxRow(Value, frozen=True, kw_only=True):
    """A message on its way to one channel, as the journal keeps it.

    ``message`` is the newest version; its ``thread`` holds the lines not yet told, in order.
    """

    channel: str  # the notifier's name
    key: str
    rev: int  # rises with every change of the row: what was told is compared by it
    message: Message
    told: int = 0  # thread lines of this key that are over: told or skipped; the ordinal of ``thread[0]``
    skipped: int = 0  # lines left out for room just before ``thread[0]``
    attempts: int = 0  # failed tries since the last success
    retry_at: datetime | None = None  # None: at once
    ref: JsonObject = {}  # what the channel needs to find its message again (Slack: channel, ts)


class StillOpen(Value, frozen=True, kw_only=True):
    """What a channel's board shows: incidents whose newest message is not their resolution."""

    total: int
    rows: tuple[OutboxRow, ...] = ()  # the first few
    board: OutboxRow | None = None  # as it was last written
