"""Everything a guard may look at. Built by the engine, read by the guards, never changed."""

from __future__ import annotations

from datetime import datetime

from consulguard.events import Looked
from consulguard.model import (
    ActionInfo,
    Attempt,
    Incident,
    Intent,
    Pause,
    Playbook,
    Silence,
    Subject,
    Target,
    Value,
    View,
)
from consulguard.policy import Policy


class Storm(Value, frozen=True, kw_only=True):
    """The storm brake's state. On from ``since`` until the condition has been clear for the cooldown."""

    on: bool = False
    since: datetime | None = None
    clear_since: datetime | None = None
    reason: str = ""
    recheck_at: datetime | None = None  # while it trips: not looked at again before


class Stake(Value, frozen=True, kw_only=True):
    """One service that loses instances when a whole node is acted upon."""

    service: str
    expected: int  # instances the service should have
    healthy: int  # passing instances in the whole fleet
    serving: int  # those of them that the action would take away


class Situation(Value, frozen=True, kw_only=True):
    at: datetime
    phase: str  # plan, or effect: immediately before it, with ``looked``
    policy: Policy
    view: View
    intent: Intent
    action: ActionInfo | None  # None: nobody knows this action
    playbook: Playbook
    subject: Subject
    incident: Incident
    matched: int  # how many subjects the playbook matches at once
    pauses: tuple[Pause, ...] = ()
    silence: Silence | None = None  # that fits the incident; None also where a person ordered the run
    open_intents: tuple[Intent, ...] = ()  # of every other run that holds its target, between two steps as well
    open_reach: tuple[Target, ...] = ()  # of the same intents: what the action touches around the target
    open_budgets: tuple[str, ...] = ()  # the shared budget each of those runs counts against
    attempts: tuple[Attempt, ...] = ()  # newest last, this run's own excluded
    record: tuple[str, ...] = ()  # how the playbook's last runs ended, newest last
    first_effect: bool = True  # False: the run has already touched the world
    undo: bool = False
    storm: Storm = Storm()
    graph_at: datetime | None = None  # when the topology around the subject was last read
    lease_held: bool = True
    looked: Looked | None = None  # the confirm-read's answer, in phase effect
    seen_index: int = 0  # the highest Consul index at which the trouble was seen; 0: not known
    stakes: tuple[Stake, ...] = ()  # for a node: every service with an instance on it
