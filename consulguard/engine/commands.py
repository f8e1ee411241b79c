"""A person's word, or the calendar's: every command there is. Each is answered, and journaled as said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from consulguard.engine import approvals, hands, manual, offers, remind, silences, tell
from consulguard.engine.silences import MAX_S
from consulguard.engine.state import EngineState
from consulguard.events import AnyEffect, Commanded, Reply
from consulguard.model import Pause


def take(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """Obey, or say why not. The answer is a ``Reply`` with the command's key."""
    command = _COMMANDS.get(said.command)
    if command is None:
        return [_no(said, f"there is no command {said.command!r}")]
    effects = command(state, said, at)
    if any(isinstance(e, Reply) for e in effects):
        return effects
    return [*effects, Reply(key=said.key, ok=True, text=f"{said.command}: done")]


def _pause(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """A pause is a named reason; several may hold at once."""
    for_s = said.args.get("for_s")
    if isinstance(for_s, bool) or not isinstance(for_s, int | float | None) or not 0 <= (for_s or 0) <= MAX_S:
        return [_no(said, f"for_s is a number of seconds, {MAX_S:g} at most")]
    why = str(said.args.get("reason", ""))
    until = at + timedelta(seconds=float(for_s)) if for_s else None
    state.pauses.append(Pause(who=said.who, why=why, since=at, depth=said.command, until=until))
    ends = f" until {until:%Y-%m-%d %H:%M:%S}Z" if until is not None else ""
    return [Reply(key=said.key, ok=True, text=f"paused{ends}: {why}")]


def _resume(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    why = said.args.get("reason")
    left = [p for p in state.pauses if why is not None and p.why != why]
    if why is not None and len(left) == len(state.pauses):
        return [_no(said, f"nothing is paused for the reason {why!r}")]
    state.pauses[:] = left
    what = "resumed" if why is None else f"no longer paused: {why}"
    still = f"; still paused: {'; '.join(p.why for p in left)}" if left else ""
    return [Reply(key=said.key, ok=True, text=f"{what}{still}")]


def _rearm(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    name = str(said.args.get("playbook", ""))
    state.records.pop(name, None)
    return [Reply(key=said.key, ok=True, text=f"re-armed: {name}")]


def _digest(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    return tell.digest(state, at)


def _click(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    return offers.click(state, said, at, take)


def _refused(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """A door let somebody not in: it is in the journal, and changes nothing."""
    verb, subject, why = (str(said.args.get(name, "")) for name in ("verb", "subject", "why"))
    return [_no(said, f"refused: {f'{verb} {subject}'.strip()}: {why}")]


def _no(said: Commanded, text: str) -> Reply:
    return Reply(key=said.key, ok=False, text=text)


_COMMANDS: Final[Mapping[str, Callable[[EngineState, Commanded, datetime], list[AnyEffect]]]] = {
    "pause": _pause,
    "stop": _pause,
    "resume": _resume,
    "rearm": _rearm,
    "digest": _digest,
    "remind": remind.remind,
    "approve": approvals.decide,
    "deny": approvals.decide,
    "run": manual.run,
    "ack": hands.said,
    "assign": hands.said,
    "resolve": hands.said,
    "reopen": hands.said,
    "silence": silences.add,
    "expire": silences.expire,
    "click": _click,
    "refused": _refused,
}
