"""Doors: how services met a read-only probe, and what that says of who is to blame.

A bad answer counts only from a door that has answered well before: one behind a firewall, on the loopback of its
host (a service that is reached through its sidecar alone), or with a path that never worked, is shut without
anybody's fault.
"""

from __future__ import annotations

from math import exp, log

import msgspec

from consulguard.correlate.cause.weights import Weights
from consulguard.model import DoorAnswer, Reaction

_DEEP = ("http", "https")  # what may show that something the service needs is broken


class Door(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Moments in seconds since 1970, 0: never."""

    service: str  # name
    asked: float
    at: float = 0.0  # of the last answer
    well: float = 0.0  # of the last good one
    answer: DoorAnswer | None = None


def heard(doors: dict[str, Door], key: str, answer: DoorAnswer, now: float) -> None:
    """Take an answer in. One that says nothing leaves what was known."""
    door = doors.setdefault(key, Door(service=answer.service.service, asked=now))
    if answer.how is Reaction.UNSURE:
        return
    door.at, door.answer = now, answer
    if answer.how is Reaction.WELL:
        door.well = now


def telling(door: Door | None, since: float, now: float, w: Weights) -> DoorAnswer | None:
    """The answer, where it says something of a fault that began at ``since``; seconds since 1970."""
    if door is None or door.answer is None or now - door.at > w.door_s:
        return None
    if door.answer.how is Reaction.WELL and door.at < since:
        return None
    return door.answer if door.well and now - door.well <= w.door_known_s else None


def weigh(door: Door | None, own: bool, since: float, now: float, w: Weights) -> float:
    """The log ratio, if the service is at fault itself, or something it needs is."""
    answer = telling(door, since, now, w)
    if answer is None:
        return 0.0
    found = _own(answer, w)
    return found if own else _deps(found, answer, w)


def _own(answer: DoorAnswer, w: Weights) -> float:
    match answer.how:
        case Reaction.WELL:
            return w.door_open if answer.kind == "tcp" else w.door_well
        case Reaction.SLOW:
            return w.door_slow
        case Reaction.BADLY:
            return w.door_badly
        case _:
            return w.door_shut


def _deps(own: float, answer: DoorAnswer, w: Weights) -> float:
    """A path may do the work and so need what the service needs; a port and a word of health rarely do."""
    return log(w.sees_deps * exp(own) + 1 - w.sees_deps) if answer.kind in _DEEP else 0.0


# ---- for people


def sentence(door: Door | None, since: float, now: float, w: Weights) -> str:
    """ "A probe of ledger at 10.0.0.5:8080 timed out after 2 s." Empty where it says nothing."""
    answer = telling(door, since, now, w)
    if answer is None:
        return ""
    more = f" ({answer.reason})" if answer.reason else ""
    return f"A probe of {answer.service.service} at {answer.address} {_met(answer)}{more}."


def _met(answer: DoorAnswer) -> str:
    took = f"{answer.took_s:.2g} s"
    match answer.how:
        case Reaction.WELL:
            return f"{'connected' if answer.kind == 'tcp' else 'was answered'} in {took}"
        case Reaction.SLOW:
            return f"was answered only after {took}"
        case Reaction.BADLY:
            return "was answered badly"
        case Reaction.REFUSED:
            return "was refused"
        case _:
            return f"timed out after {took}"
