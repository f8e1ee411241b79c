"""To whom a message goes, and when what lasts is told again.

Who was told of something is told how it goes on and ends, whatever its labels have become.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from consulguard import routing
from consulguard.engine import labels
from consulguard.engine.state import Addressed, EngineState
from consulguard.events import AnyEffect, Tell
from consulguard.model import Message
from consulguard.plan.duration import format_duration
from consulguard.policy import Route

KINDS = {"inc": "incident", "run": "run", "sil": "silence"}  # of keys with an id behind them
QUIET = ("info", "resolved")  # nobody is told again
SEEN = ("acknowledged", "silenced")  # nobody is reminded


def send(state: EngineState, effects: Sequence[AnyEffect], at: datetime) -> list[AnyEffect]:
    """The effects with every message addressed, and with reminders. Without a route all go to everybody."""
    if state.policy.route is None:
        state.addressed.clear()
        return list(effects)
    sent = [
        Tell(message=_addressed(state, state.policy.route, e.message, at)) if isinstance(e, Tell) else e
        for e in effects
    ]
    for key in [k for k in state.addressed if k not in state.told]:
        del state.addressed[key]
    return [*sent, *_again(state, at)]


def rerouted(state: EngineState, route: Route | None) -> None:
    """Another tree: who was told stays on, on the new terms, where the tree still knows them."""
    leaves: dict[str, Route] = {}
    below = [route] if route is not None else []
    while below:
        leaf = below.pop(0)
        leaves.setdefault(leaf.receiver, _terms(leaf))
        below += leaf.routes
    for one in state.addressed.values():
        one.terms = {name: leaves[name] for name in one.terms if name in leaves}
        one.again = {name: at for name, at in one.again.items() if name in one.terms and _every(one.terms[name])}


def _terms(leaf: Route) -> Route:
    return msgspec.structs.replace(leaf, routes=(), matchers=())


def _every(leaf: Route) -> float:
    return leaf.refresh_s or leaf.repeat_s


def next_wake(state: EngineState) -> datetime | None:
    """When somebody is to be told again."""
    return min((moment for one in state.addressed.values() for moment in one.again.values()), default=None)


def _addressed(state: EngineState, route: Route, message: Message, at: datetime) -> Message:
    known = state.addressed.setdefault(message.key, Addressed())
    first = not known.terms
    holds = {}
    if first or message.severity != "resolved":
        for leaf in routing.chosen(route, _labels(state, message)):
            if leaf.receiver not in known.terms:
                holds[leaf.receiver] = routing.not_before(leaf, at, first=True)
                known.terms[leaf.receiver] = _terms(leaf)
    for name, leaf in known.terms.items():
        moment = holds.setdefault(name, routing.not_before(leaf, at, first=False))
        if every := _every(leaf):
            known.again[name] = moment + timedelta(seconds=every)
    if message.severity in QUIET:
        known.again.clear()
    known.last = msgspec.structs.replace(message, thread=()) if known.again else None
    later = {name: moment for name, moment in holds.items() if moment > at}
    return msgspec.structs.replace(message, channels=tuple(known.terms), holds=later)


def _again(state: EngineState, at: datetime) -> list[AnyEffect]:
    """What still lasts, to those whose time has come; a receiver that is muted hears of it after that."""
    found: list[AnyEffect] = []
    for one in state.addressed.values():
        for name, moment in one.again.items():
            if moment > at or one.last is None:
                continue
            leaf = one.terms[name]
            until = routing.muted_until(leaf, at)
            one.again[name] = until or at + timedelta(seconds=_every(leaf))
            if until is None and (leaf.refresh_s or one.last.severity not in SEEN):
                found.append(Tell(message=_reminder(one.last, leaf, at)))
    return found


def _reminder(last: Message, leaf: Route, at: datetime) -> Message:
    since = last.incident.opened_at if last.incident is not None else last.at
    lasted = format_duration(60.0 * max(1, round((at - since).total_seconds() / 60)))
    line = () if leaf.refresh_s else (f"Reminder: still so after {lasted}",)
    return msgspec.structs.replace(last, at=at, thread=line, channels=(leaf.receiver,), holds={})


def _labels(state: EngineState, message: Message) -> Mapping[str, tuple[str, ...]]:
    """Of an incident all it has; of anything: kind and severity."""
    prefix = message.key.partition("-")[0]
    found = {"kind": (KINDS.get(prefix, prefix),), "severity": (message.severity,)}
    return found if message.incident is None else {**found, **labels.of_incident(state, message.incident)}
