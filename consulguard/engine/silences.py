"""Silences, as Alertmanager has them: what all matchers fit is not told and not remediated until the end.

Which incident is hushed is worked out anew when a silence begins or ends and whenever incidents are, and kept, so
that nobody else has to compare labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from consulguard import correlate, plan
from consulguard.engine.labels import LABELS, fit
from consulguard.engine.state import EngineState
from consulguard.events import AnyEffect, Commanded, Reply
from consulguard.model import Incident, Matcher, Silence

KEPT = 100  # silences that are over
AT_MOST = 500  # to come and in force
MATCHERS_AT_MOST = 20
MAX_S = 30 * 86_400.0  # as every duration
TEXT_MAX = 500


def add(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """``silence``: matchers, for_s, comment; optionally author and starts_in_s. Answers with the id."""
    try:
        silence = _silence(state, said, at)
    except ValueError as error:
        return [Reply(key=said.key, ok=False, text=str(error))]
    state.silenced += 1
    state.silences[silence.id] = silence
    fits = len([i for i in correlate.open_incidents(state.book) if fit(state, silence.matchers, i)])
    until = f"{silence.ends_at:%Y-%m-%d %H:%M:%S}Z"
    text = f"{silence.id} until {until}: {shown(silence)} ({fits} open incident{'' if fits == 1 else 's'} now)"
    return [Reply(key=said.key, ok=True, text=text, subject=silence.id)]


def expire(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """``expire``: the silence ends now; one that has not begun never does."""
    given = str(said.args.get("id", ""))
    silence = state.silences.get(given)
    if silence is None:
        return [Reply(key=said.key, ok=False, text=f"there is no silence {given!r}")]
    if silence.ends_at <= at:
        return [Reply(key=said.key, ok=False, text=f"{given} was over at {silence.ends_at:%Y-%m-%d %H:%M:%S}Z")]
    state.silences[given] = msgspec.structs.replace(silence, ends_at=at)
    return [Reply(key=said.key, ok=True, text=f"{given} is over", subject=given)]


def review(state: EngineState, changed: Iterable[Incident], at: datetime) -> list[str]:
    """Bring ``hushed`` up to date; returns the incidents of which it says something else than before."""
    now = [s.id for s in state.silences.values() if s.starts_at <= at < s.ends_at]
    moved = now != state.hushing
    if not now and not moved:
        return []
    state.hushing = now
    over = sorted((s for s in state.silences.values() if s.ends_at <= at), key=lambda s: (s.ends_at, s.id))
    for silence in over[: max(0, len(over) - KEPT)]:
        del state.silences[silence.id]
    if not moved and state.correlated_at != at and not list(changed):
        return []
    before, state.hushed = state.hushed, {}
    for incident in correlate.open_incidents(state.book):
        fitting = (n for n in now if fit(state, state.silences[n].matchers, incident))
        if (found := max(fitting, key=lambda n: (state.silences[n].ends_at, n), default=None)) is not None:
            state.hushed[incident.id] = found
    either = {**before, **state.hushed}
    return [i for i in either if before.get(i) != state.hushed.get(i)]


def next_wake(state: EngineState) -> datetime | None:
    """When the next one begins or ends."""
    assert state.at is not None
    moments = (m for s in state.silences.values() for m in (s.starts_at, s.ends_at))
    return min((m for m in moments if m > state.at), default=None)


def shown(silence: Silence) -> str:
    """The matchers as they are written."""
    return ", ".join(plan.format_matcher(m) for m in silence.matchers)


def of_root(incident: Incident) -> list[str]:
    """Matchers for whatever fails in the same place: what a button silences."""
    root = incident.root
    name = {"node": "node", "zone": "zone"}.get(root.kind, "service")
    places = {name: root.name, "datacenter": root.datacenter, "peer": root.peer}
    places |= {n: v for n, v in (("namespace", root.namespace), ("partition", root.partition)) if v != "default"}
    return [plan.format_matcher(Matcher(name=n, op="=", value=v)) for n, v in places.items() if v]


def _silence(state: EngineState, said: Commanded, at: datetime) -> Silence:
    """What was said, as a silence. Raises ValueError with a sentence."""
    args = said.args
    if sum(s.ends_at > at for s in state.silences.values()) >= AT_MOST:
        raise ValueError(f"there are {AT_MOST} silences already: let some of them expire")
    comment = str(args.get("comment", "")).strip()
    if not comment or len(comment) > TEXT_MAX:
        raise ValueError(f"a silence needs a comment of 1 to {TEXT_MAX} characters: why, for those who find it")
    starts = at + timedelta(seconds=_seconds(args.get("starts_in_s", 0.0), "starts_in_s", least=0.0))
    author = str(args.get("author", "")).strip()[:TEXT_MAX]
    return Silence(
        id=f"sil-{state.silenced + 1}",
        matchers=_matchers(args.get("matchers")),
        author=f"{author} (by {said.who})" if author and author != said.who else said.who,
        comment=comment,
        starts_at=starts,
        ends_at=starts + timedelta(seconds=_seconds(args.get("for_s"), "for_s", least=1.0)),
    )


def _seconds(given: Any, name: str, *, least: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= MAX_S:
        raise ValueError(f"{name} is a number of seconds from {least:g} to {MAX_S:g}")
    return float(given)


def _matchers(given: Any) -> tuple[Matcher, ...]:
    """At least one of them must need a value: nobody silences everything by leaving something out."""
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= MATCHERS_AT_MOST:
        raise ValueError(f"a silence has 1 to {MATCHERS_AT_MOST} matchers")
    found = tuple(plan.parse_matcher(str(text), LABELS) for text in given)
    if all(plan.matches([m], {}) for m in found):
        raise ValueError('these matchers fit everything: at least one must need a value, such as service="x"')
    return found
