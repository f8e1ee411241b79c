"""What may be pressed under an incident's message, and what a press means.

An offer's id cannot be guessed (128 bits) and means one thing: this verb for this incident, or this answer to this
question. It is good until it has brought its decision, or its meaning is gone; then it says what became of it. As
long as its meaning stays, an edited message keeps it, so that nobody presses a button that was just replaced. What
only reads (explain, timeline, topology) is not used up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from consulguard import correlate
from consulguard.correlate.book import ACTIVE
from consulguard.engine import silences
from consulguard.engine.state import EngineState, Standing
from consulguard.events import AnyEffect, Commanded, Reply
from consulguard.model import Incident, Offer, PlannedEffect, Question

READING = ("explain", "timeline", "topology")
KEPT = 40  # offers of one message, those that are over included
SILENCE_S = 3600.0  # where a press does not say for how long
CONFIRM_MAX = 300  # Slack's limit for the words of a confirm dialog
Take = Callable[[EngineState, Commanded, datetime], list[AnyEffect]]


def wanted(state: EngineState, incident: Incident, question: Question | None) -> tuple[Offer, ...]:
    """What the incident's message is to offer now, without ids."""
    found: list[Offer] = []
    if question is not None:
        found.append(Offer(id="", verb="approve", question=question.id, confirm=confirm(question)))
        found.append(Offer(id="", verb="deny", question=question.id))
    if incident.state in ACTIVE:
        if incident.id not in state.hushed:
            words = f"Silence {', '.join(silences.of_root(incident))}"[:CONFIRM_MAX]
            found.append(Offer(id="", verb="silence", confirm=words))
        if not incident.acked_by:
            found.append(Offer(id="", verb="ack"))
    found += [Offer(id="", verb=verb) for verb in READING]
    return tuple(replace(offer, incident=incident.id) for offer in found)


def made(
    state: EngineState, before: Sequence[str], offers: Iterable[Offer], at: datetime
) -> tuple[tuple[Offer, ...], tuple[str, ...]]:
    """The offers with their ids, and the ids to remember. ``before``: those of the message's last version."""
    live = {(s.verb, s.question): i for i in before if (s := state.offers.get(i)) is not None and not s.over}
    told = []
    for offer in offers:
        found = live.pop((offer.verb, offer.question), None)
        told.append(replace(offer, id=found or _new(state, offer)))
    for gone in live.values():
        _end(state, gone, _became(state, state.offers[gone]), at)
    fresh = [offer.id for offer in told if offer.id not in before]
    known = [*before, *fresh]
    forget(state, [i for i in known[:-KEPT] if state.offers[i].over])
    return tuple(told), tuple(i for i in known if i in state.offers)


def forget(state: EngineState, ids: Iterable[str]) -> None:
    """Their message is gone for good, or they are long over."""
    for gone in ids:
        state.offers.pop(gone, None)


def known(state: EngineState, offer_id: str) -> Standing | None:
    """What a door must know before it asks whether the presser may: the verb is ours to say, not the presser's."""
    return state.offers.get(offer_id)


def click(state: EngineState, said: Commanded, at: datetime, take: Take) -> list[AnyEffect]:
    """``click``: offer, and where the verb wants them reason and for_s. ``take`` obeys the command it stands for.

    ``verb``: what the door has checked the presser's rights for; another verb than the offer's is refused.
    """
    offer_id = str(said.args.get("offer", ""))
    standing = known(state, offer_id)
    if standing is None:
        return [Reply(key=said.key, ok=False, text="this button is not known (any more): nothing was done")]
    about = Reply(key=said.key, ok=False, text=standing.over, incident=standing.incident, verb=standing.verb)
    if said.args.get("verb", standing.verb) != standing.verb:
        return [replace(about, text=f"this button means {standing.verb}: nothing was done")]
    if standing.over:
        return [about]
    if standing.verb in READING:
        return [replace(about, ok=True, text=standing.verb)]
    effects = take(state, replace(said, command=standing.verb, args=_args(state, standing, said.args)), at)
    reply = next(e for e in effects if isinstance(e, Reply))
    if reply.ok and not _undecided(state, standing):
        _end(state, offer_id, f"{said.who} was first: {reply.text}", at)
    whole = replace(reply, incident=standing.incident, verb=standing.verb)
    return [whole if e is reply else e for e in effects]


def confirm(question: Question) -> str:
    """Exactly what will be done and to how many, in as many words as a dialog holds."""
    targets = len({effect.target for effect in question.effects})
    steps = len(question.effects)
    head = f"{question.run.playbook.id}: {_count(steps, 'step')} on {_count(targets, 'target')}."
    for words in (_whole, _short):
        text = "\n".join([head, *(words(e) for e in question.effects)])
        if len(text) <= CONFIRM_MAX:
            return text
    lines = [head]
    for number, effect in enumerate(question.effects):
        more = f"and {_count(steps - number, 'more step')}: see the message"
        if len("\n".join([*lines, _short(effect), more])) > CONFIRM_MAX:
            return "\n".join([*lines, more])[:CONFIRM_MAX]
        lines.append(_short(effect))
    return "\n".join(lines)


def _whole(effect: PlannedEffect) -> str:
    return f"{_short(effect)} {effect.params}"


def _short(effect: PlannedEffect) -> str:
    return f"{effect.step}: {effect.action} on {effect.target.name}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _new(state: EngineState, offer: Offer) -> str:
    state.offered += 1
    seed = f"offer|{state.life}|{offer.incident}|{offer.verb}|{offer.question}|{state.offered}"
    offer_id = hashlib.sha256(seed.encode()).hexdigest()[:32]
    state.offers[offer_id] = Standing(verb=offer.verb, incident=offer.incident, question=offer.question)
    return offer_id


def _end(state: EngineState, offer_id: str, why: str, at: datetime) -> None:
    state.offers[offer_id] = replace(state.offers[offer_id], over=why, over_at=at)


def _undecided(state: EngineState, standing: Standing) -> bool:
    """Whether more people are needed: the same button is theirs, too."""
    question = state.questions.get(standing.question)
    return question is not None and question.pending


def _became(state: EngineState, standing: Standing) -> str:
    question = state.questions.get(standing.question)
    if question is not None and not question.pending:
        return f"already {question.state.value}: {question.reason}"
    incident = correlate.find(state.book, standing.incident)
    if incident is None or incident.state not in ACTIVE:
        return f"{standing.incident} is {incident.state.value if incident is not None else 'long over'}"
    if standing.verb == "ack" and incident.acked_by:
        return f"{standing.incident} was already acknowledged by {incident.acked_by}"
    if standing.verb == "silence" and (silence := state.silence_of(standing.incident)) is not None:
        return f"{standing.incident} is silenced already: {silence.id} by {silence.author}"
    return "this button is good no more: nothing was done"


def _args(state: EngineState, standing: Standing, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the command the offer stands for; of what was given, only the words."""
    args = {name: given[name] for name in ("caller", "users", "slack_users", "slack_usergroups") if name in given}
    reason = str(given.get("reason", "")).strip()
    if standing.verb in ("approve", "deny"):
        return args | {"id": standing.question, "reason": reason}
    if standing.verb != "silence":
        return args | {"incident": standing.incident, "reason": reason}
    incident = correlate.find(state.book, standing.incident)
    matchers = silences.of_root(incident) if incident is not None else []
    comment = reason or f"from the message of {standing.incident}"
    return args | {"matchers": matchers, "for_s": given.get("for_s", SILENCE_S), "comment": comment}
