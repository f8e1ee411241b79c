"""The health machines (Q, Σ, δ, q0, F), one per level, declared as tables and nothing else.

A table is read column by column: the head of a column is the present state, the row is the input, the cell is
the next state. ``tests/core/health/test_tables.py`` proves every table total, deterministic, reachable and free
of traps.

What the check's table decides, beyond the plain cases:

- Consul's silence (``saw_unknown``) is never a failure and never a recovery: a passing or failing check becomes
  ``unknown``. A planned state stays planned and a vanished thing stays vanished, for silence tells nothing new.
- Who left while not passing has ``vanished``; only being seen again, or the end of the memory, ends that.
- Passing after trouble is ``recovering`` until the hold-down is over. The end of a maintenance is no recovery:
  nothing was broken, so it leads straight to passing; Consul ends one by removing its check (``saw_absent``).
- ``flapping`` swallows good and bad looks alike until it has calmed; then the last status seen is looked at anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from consulguard.model import State, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When an aggregated input is given: at least one part, and ``share`` of all, are in one of ``states``.

    The rules of a level are asked in order; the first that holds gives the input. ``planned``: whether parts in
    maintenance belong to "all". A rule without states always holds.
    """

    input: str
    states: frozenset[State] = frozenset()
    share: float = 0.0
    planned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A finite state machine; ``delta[state][input]`` is the next state."""

    level: str
    states: tuple[State, ...]
    inputs: tuple[str, ...]
    delta: Mapping[State, Mapping[str, State]]
    initial: State
    accepting: frozenset[State]
    rules: tuple[Rule, ...] = ()

    def step(self, state: State, given: str) -> State:
        return self.delta[state][given]


_CHECK = """
                 passing      warning      critical     maintenance  flapping     vanished     unknown      recovering
saw_passing      passing      recovering   recovering   passing      flapping     recovering   recovering   recovering
saw_warning      warning      warning      warning      warning      flapping     warning      warning      warning
saw_critical     critical     critical     critical     critical     flapping     critical     critical     critical
saw_maintenance  maintenance  maintenance  maintenance  maintenance  maintenance  maintenance  maintenance  maintenance
saw_absent       passing      vanished     vanished     passing      vanished     vanished     vanished     vanished
saw_unknown      unknown      unknown      unknown      maintenance  unknown      vanished     unknown      unknown
flapped          flapping     flapping     flapping     maintenance  flapping     vanished     unknown      flapping
calmed           passing      warning      critical     maintenance  recovering   vanished     unknown      recovering
held             passing      warning      critical     maintenance  flapping     vanished     unknown      passing
forgotten        passing      warning      critical     maintenance  flapping     passing      unknown      recovering
"""  # noqa: E501 -- a table is read as a table

# An instance, a node and a service have no memory of their own: hold-down, flapping and forgetting happened in
# their checks. So each input leads to one state from everywhere, and the order of the rules is what decides.
_INSTANCE = {
    "in_maintenance": State.MAINTENANCE,
    "some_critical": State.CRITICAL,
    "some_flapping": State.FLAPPING,
    "some_unknown": State.UNKNOWN,
    "some_warning": State.WARNING,
    "some_vanished": State.VANISHED,
    "some_recovering": State.RECOVERING,
    "all_passing": State.PASSING,
}
_NODE = dict(_INSTANCE)
_SERVICE = {
    "all_maintenance": State.MAINTENANCE,
    "all_vanished": State.VANISHED,
    "most_failing": State.CRITICAL,
    "most_flapping": State.FLAPPING,
    "some_failing": State.WARNING,
    "some_unknown": State.UNKNOWN,
    "some_recovering": State.RECOVERING,
    "all_passing": State.PASSING,
}

# One part is enough. Maintenance first: what is planned is not a failure. A warning before vanished: a part that
# still speaks proves that its instance is there.
_WORST_OF = (
    Rule(input="in_maintenance", states=frozenset({State.MAINTENANCE})),
    Rule(input="some_critical", states=frozenset({State.CRITICAL})),
    Rule(input="some_flapping", states=frozenset({State.FLAPPING})),
    Rule(input="some_unknown", states=frozenset({State.UNKNOWN})),
    Rule(input="some_warning", states=frozenset({State.WARNING})),
    Rule(input="some_vanished", states=frozenset({State.VANISHED})),
    Rule(input="some_recovering", states=frozenset({State.RECOVERING})),
    Rule(input="all_passing"),
)
_FAILING = frozenset({State.CRITICAL, State.VANISHED})
_SHARES = (
    Rule(input="all_maintenance", states=frozenset({State.MAINTENANCE}), share=1.0, planned=True),
    Rule(input="all_vanished", states=frozenset({State.VANISHED}), share=1.0),
    Rule(input="most_failing", states=_FAILING, share=0.5),
    Rule(input="most_flapping", states=_FAILING | {State.FLAPPING}, share=0.5),
    Rule(input="some_failing", states=_FAILING | {State.FLAPPING, State.WARNING}),
    Rule(input="some_unknown", states=frozenset({State.UNKNOWN})),
    Rule(input="some_recovering", states=frozenset({State.RECOVERING})),
    Rule(input="all_passing"),
)


def _grid(text: str) -> dict[State, dict[str, State]]:
    """Read a table as written above."""
    head, *rows = (line.split() for line in text.strip().splitlines())
    delta: dict[State, dict[str, State]] = {State(name): {} for name in head}
    for given, *cells in rows:
        for name, cell in zip(head, cells, strict=True):
            delta[State(name)][given] = State(cell)
    return delta


def _from_everywhere(leads: Mapping[str, State]) -> dict[State, dict[str, State]]:
    return {state: dict(leads) for state in State}


def _machine(level: str, delta: Mapping[State, Mapping[str, State]], rules: tuple[Rule, ...] = ()) -> Machine:
    return Machine(
        level=level,
        states=tuple(State),
        inputs=tuple(delta[State.PASSING]),
        delta=MappingProxyType({state: MappingProxyType(dict(row)) for state, row in delta.items()}),
        initial=State.PASSING,
        accepting=frozenset({State.PASSING}),
        rules=rules,
    )


TABLES: Mapping[str, Machine] = MappingProxyType(
    {
        "check": _machine("check", _grid(_CHECK)),
        "instance": _machine("instance", _from_everywhere(_INSTANCE), _WORST_OF),
        "service": _machine("service", _from_everywhere(_SERVICE), _SHARES),
        "node": _machine("node", _from_everywhere(_NODE), _WORST_OF),
    }
)

SAW: Mapping[Status, str] = MappingProxyType({status: f"saw_{status.value}" for status in Status})
"""The check's input for each status."""

RANK: Mapping[State, int] = MappingProxyType(
    {state: rank for rank, rule in enumerate(_WORST_OF) for state in rule.states or {State.PASSING}}
)
"""How bad a part's state is for the whole: 0 decides over all others."""


def aggregated(level: str, tally: Mapping[State, int], total: int) -> str:
    """The input for a whole whose parts are in these states (passing ones need not be counted in ``tally``)."""
    unplanned = total - tally.get(State.MAINTENANCE, 0)
    for rule in TABLES[level].rules:
        parts = sum(tally.get(state, 0) for state in rule.states)
        if not rule.states or (parts and parts >= rule.share * (total if rule.planned else unplanned)):
            return rule.input
    raise AssertionError("the last rule of a level always holds")
