"""What is typed behind ``/consulguard``: words to a verb and its arguments. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from consulguard.model import Value
from consulguard.plan.duration import parse_duration

REASON_MAX = 500
_TOKEN = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\S)+')
_MATCHER = re.compile(r"[^\s=!~\"']+(?:=~|!~|!=|=)")
_MENTION = re.compile(r"<@([UW][A-Z0-9]{1,31})(?:\|[^>]*)?>")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "’": "'"})  # phones write these
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))  # Slack's three; the last one last


class Asked(Value, frozen=True, kw_only=True):
    """A verb with its arguments; or, with ``problem``, why it is none."""

    verb: str
    args: dict[str, Any]
    problem: str = ""


class Form(NamedTuple):
    usage: str
    help: str
    read: Callable[[list[str], str], dict[str, Any]]


class Wrong(ValueError):
    """A sentence for who typed it."""


def parse(text: str, offered: Sequence[str]) -> Asked:
    """``offered``: the verbs a misspelt one may be taken for (what the caller may say)."""
    plain = text.translate(_QUOTES)
    for entity, char in _ENTITIES:
        plain = plain.replace(entity, char)
    words = _TOKEN.findall(plain)
    verb = words[0].lower() if words else "help"
    form = FORMS.get(verb)
    if form is None:
        near = difflib.get_close_matches(verb, offered, n=1)
        hint = f"did you mean {near[0]}?" if near else "try help"
        return Asked(verb="", args={}, problem=f"I do not know {verb[:40]!r}; {hint}")
    rest = plain.strip()[len(words[0]) :].strip() if words else ""
    try:
        return Asked(verb=verb, args=form.read(words[1:], rest))
    except ValueError as error:
        return Asked(verb=verb, args={}, problem=f"{error}. Usage: {verb} {form.usage}".rstrip())


def duration(word: str) -> float | None:
    try:
        return parse_duration(word)
    except ValueError:
        return None


# ---- one reader for each shape of arguments


def _nothing(words: list[str], rest: str) -> dict[str, Any]:
    if words:
        raise Wrong("It takes no argument")
    return {}


def _maybe(name: str) -> Callable[[list[str], str], dict[str, Any]]:
    def read(words: list[str], rest: str) -> dict[str, Any]:
        if len(words) > 1:
            raise Wrong(f"It takes one {name} at most")
        return {name: words[0]} if words else {}

    return read


def _one(name: str) -> Callable[[list[str], str], dict[str, Any]]:
    def read(words: list[str], rest: str) -> dict[str, Any]:
        if len(words) != 1:
            raise Wrong(f"It takes one {name}")
        return {name: words[0]}

    return read


def _with_reason(name: str, *, needed: bool = True) -> Callable[[list[str], str], dict[str, Any]]:
    def read(words: list[str], rest: str) -> dict[str, Any]:
        if not words:
            raise Wrong(f"It takes one {name} and a reason")
        return {name: words[0], "reason": _reason(rest[len(words[0]) :], needed=needed)}

    return read


def _reason(text: str, *, needed: bool = True) -> str:
    found = text.strip()
    if needed and not found:
        raise Wrong("Say why")
    if len(found) > REASON_MAX:
        raise Wrong(f"The reason has more than {REASON_MAX} characters")
    return found


def _pause(words: list[str], rest: str) -> dict[str, Any]:
    for_s = duration(words[0]) if words else None
    if for_s is None:
        return {"reason": _reason(rest)}
    return {"for_s": for_s, "reason": _reason(rest[len(words[0]) :])}


def _resume(words: list[str], rest: str) -> dict[str, Any]:
    reason = _reason(rest, needed=False)
    return {"reason": reason} if reason else {}


def _run(words: list[str], rest: str) -> dict[str, Any]:
    names = [word for word in words if word != "--dry-run"]
    if len(names) != 2:
        raise Wrong("It takes a playbook and a service")
    return {"playbook": names[0], "service": names[1], "dry_run": len(names) < len(words)}


def _assign(words: list[str], rest: str) -> dict[str, Any]:
    if len(words) < 2:
        raise Wrong("It takes an incident and a person")
    to = _reason(rest[len(words[0]) :])
    mentioned = _MENTION.fullmatch(to)
    return {"incident": words[0], "to": mentioned[1] if mentioned else to}


def _silence(words: list[str], rest: str) -> dict[str, Any]:
    matchers = []
    for word in words:
        if _MATCHER.match(word) is None:
            break
        matchers.append(word)
    left = words[len(matchers) :]
    for_s = duration(left[0]) if left else None
    if not matchers or for_s is None:
        raise Wrong("It takes matchers, a duration such as 1h, and a reason")
    found = list(_TOKEN.finditer(rest))[len(matchers)]
    return {"matchers": matchers, "for_s": for_s, "comment": _reason(rest[found.end() :])}


FORMS: dict[str, Form] = {
    "help": Form("", "this list", lambda words, rest: {}),
    "status": Form("[SERVICE]", "how the mesh, or a service, is now", _maybe("service")),
    "incidents": Form("", "what is open", _nothing),
    "show": Form("INCIDENT", "one incident: cause, members, plan, runs", _one("incident")),
    "explain": Form("INCIDENT|SERVICE|PLAYBOOK", "what every matcher and guard says", _one("subject")),
    "timeline": Form("INCIDENT", "what happened and what was done, in order", _one("incident")),
    "topology": Form("[SERVICE]", "who calls whom, as a picture", _maybe("service")),
    "plan": Form("[SERVICE]", "what would be done now", _maybe("service")),
    "run": Form("PLAYBOOK SERVICE [--dry-run]", "put a playbook in charge", _run),
    "approve": Form("ID", "agree to what is asked", _one("id")),
    "deny": Form("ID REASON", "refuse what is asked", _with_reason("id")),
    "ack": Form("INCIDENT", "you look after it", _one("incident")),
    "assign": Form("INCIDENT WHO", "somebody looks after it", _assign),
    "resolve": Form("INCIDENT [REASON]", "close it", _with_reason("incident", needed=False)),
    "reopen": Form("INCIDENT [REASON]", "open it again", _with_reason("incident", needed=False)),
    "silence": Form("MATCHER... DURATION REASON", "neither tell nor touch what fits", _silence),
    "expire": Form("SILENCE", "end a silence", _one("id")),
    "pause": Form("[DURATION] REASON", "start nothing new", _pause),
    "stop": Form("[DURATION] REASON", "and end runs between their steps", _pause),
    "resume": Form("[REASON]", "lift pauses: all, or those with this reason", _resume),
}
READING = ("help", "status", "incidents", "show", "explain", "timeline", "topology", "plan")
