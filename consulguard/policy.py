"""What the operator allows: every setting that decides something, with its unit and its default's reason.

Semantics and defaults follow docs/guards.md. The values come from ``config.py``; the quiet rooms only read them.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from consulguard.model import Matcher, Mode, Target, Value


class HealthPolicy(Value, frozen=True, kw_only=True):
    recovery_s: float = 30.0  # passing this long before it counts as recovered: shorter dips are not two incidents
    flap_changes: int = 4  # this many changes ...
    flap_window_s: float = 600.0  # ... within this long is flapping
    calm_s: float = 300.0  # no change for this long ends flapping
    interval_factor: float = 2.0  # no window is shorter than this many check intervals
    vanished_s: float = 3600.0  # a vanished thing is remembered this long


class ProbePolicy(Value, frozen=True, kw_only=True):
    """When a service is probed to settle who is to blame; how, the shell knows."""

    services: tuple[str, ...] = ()  # that may be probed, by name; none: nobody is
    every_s: float = 30.0  # between two probes of a suspect
    well_s: float = 600.0  # ... and of a service nobody suspects, to know that its door is one that answers
    most: int = 20  # probes in a minute


class CorrelatePolicy(Value, frozen=True, kw_only=True):
    warning_opens: bool = False  # a warning alone opens no incident; it is evidence
    service_share: float = 0.5  # root is the service when at least this share of its instances fail
    group_share: float = 0.8  # a node or zone is the root when at least this share of its members fail
    group_min: int = 2  # ... and at least this many of them
    resolve_s: float = 30.0  # nothing fails for this long: resolved
    reopen_s: float = 600.0  # failing again within this long reopens the incident
    min_interval_s: float = 0.0  # correlate at most this often
    confident: float = 0.7  # from here a root counts as certain for the storm brake
    failed_calls: float = 0.1  # from this share of failed calls on, they count as failing
    infer: bool = False  # weigh causes by the checks' pasts; journals from before this are judged without
    probe: ProbePolicy = ProbePolicy()


class Budget(Value, frozen=True, kw_only=True):
    """What all playbooks that name it may do together."""

    runs: int  # starts ...
    per_s: float  # ... within this long
    max_open: int  # targets at work at the same time


class Opening(Value, frozen=True, kw_only=True):
    """Hours of some weekdays, as a clock on the wall shows them."""

    days: tuple[int, ...]  # on which it begins; 0 is Monday
    start: int  # minutes after midnight
    end: int  # the same, up to 1440; not after ``start``: on the next day


class Blackout(Value, frozen=True, kw_only=True):
    since: datetime
    until: datetime
    why: str = ""


class Window(Value, frozen=True, kw_only=True):
    """When changes may be made."""

    zone: str = "UTC"  # IANA
    open: tuple[Opening, ...] = ()  # none: always, but for the blackouts
    closed: tuple[Blackout, ...] = ()


class Route(Value, frozen=True, kw_only=True):
    """Alertmanager's: who is told what all matchers fit, unless a route below fits, too."""

    receiver: str  # a notifier's name
    matchers: tuple[Matcher, ...] = ()
    more: bool = False  # its ``continue``: the routes after it are looked at, too
    group_wait_s: float = 0.0  # the first word waits this long
    group_interval_s: float = 0.0  # and so does each further one, for others to come
    repeat_s: float = 0.0  # what still lasts is told again; 0: it is not
    refresh_s: float = 0.0  # the same without a word, for a receiver that forgets; 0: it does not
    mute: tuple[Window, ...] = ()  # nothing is told while one of them is open
    routes: tuple[Route, ...] = ()


class GuardPolicy(Value, frozen=True, kw_only=True):
    """Defaults: docs/guards.md, each with its reason."""

    max_open: int = 3  # targets with an open intent, fleet-wide
    max_open_per_service: int = 1
    max_open_per_node: int = 1
    max_share: float = 0.10  # of the expected instances of a service, at least one
    min_start_interval_s: float = 10.0  # between two run starts
    budget_per_service_h: int = 5
    budget_total_h: int = 20
    match_cap: int = 10  # a playbook that matches more subjects at once is denied whole
    min_healthy: float = 0.5
    storm_window_s: float = 120.0
    storm_min: int = 5
    storm_share: float = 0.20
    storm_group_share: float = 0.50
    storm_fleet_share: float = 0.50
    storm_cooldown_s: float = 300.0
    for_s: float = 60.0  # the least hold-down of any playbook
    min_looks: int = 2
    cooldown_s: float = 120.0  # doubled with each attempt up to cooldown_max_s
    cooldown_max_s: float = 3600.0
    service_cooldown_s: float = 300.0  # per service after a failure
    escalation_cooldown_s: float = 3600.0
    attempts_max: int = 2
    attempts_window_s: float = 3600.0
    budgets: dict[str, Budget] = msgspec.field(default_factory=dict)  # shared by the playbooks that name one
    windows: dict[str, Window] = msgspec.field(default_factory=dict)  # by name
    window: str = ""  # the one that holds for every playbook; empty: none
    error_budget_runs: int = 10  # of a playbook's last runs ...
    error_budget_bad: int = 3  # ... so many that did not help make it ask a person
    view_max_age_s: float = 65.0
    root_settle_s: float = 10.0  # no action on a root younger than this
    graph_max_age_s: float = 600.0  # an older topology may name the wrong root: a person decides
    confirm_max_age_s: float = 5.0  # an older confirm-read is read again
    deny: tuple[str, ...] = ("consul", "consulguard")  # services never acted upon, besides the built-in ones
    deny_nodes: tuple[str, ...] = ()  # Consul servers and our own agent's node are added at start


class Policy(Value, frozen=True, kw_only=True):
    mode: Mode = Mode.OBSERVE
    datacenter: str = ""
    partition: str = ""  # of a unit; empty: whatever is seen is ours
    health: HealthPolicy = HealthPolicy()
    correlate: CorrelatePolicy = CorrelatePolicy()
    guard: GuardPolicy = GuardPolicy()
    group_wait_s: float = 5.0  # an incident is told when it is this old: a storm makes one message, not many
    route: Route | None = None  # None: everybody is told everything
    silence: tuple[Matcher, ...] = ()
    own_targets: tuple[Target, ...] = ()  # what we ourselves need to live; never acted upon

    def ours(self, target: Target) -> bool:
        """Whether it is this unit's to act upon; another unit's is only known by what that one says."""
        return not self.partition or (target.dc, target.partition) == (self.datacenter, self.partition)
