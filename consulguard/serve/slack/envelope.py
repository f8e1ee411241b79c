"""What came in at either door, in one shape. Pure.

Only what the handler needs is taken over, and every part of it is a string: nothing of the message the button hung
under, and nothing a client may have added.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from consulguard.model import Value

TEXT_MAX = 3000
ID_MAX = 300
FIELDS_MAX = 10


class BadPayload(ValueError):
    """Not a payload of Slack's, or of a kind nobody here asked for."""


class Kind(enum.StrEnum):
    COMMAND = "command"
    CLICK = "click"  # of a button, or of an entry of a menu
    SUBMIT = "submit"  # of a modal


class Envelope(Value, frozen=True, kw_only=True):
    """One thing a person did in Slack. ``key`` is the same however often, and by whichever door, it comes."""

    key: str
    kind: Kind
    app: str = ""
    team: str = ""
    user: str = ""
    user_team: str = ""  # of the person, where Slack says it: in a shared channel it may be another one
    name: str = ""
    channel: str = ""
    thread: str = ""  # of a click: the message it was under
    trigger: str = ""  # opens a modal, for three seconds
    response_url: str = ""
    text: str = ""  # of a command
    action: str = ""  # of a click: the element's action id; of a modal: its callback id
    value: str = ""  # of a click: the element's value; of a modal: its private metadata
    fields: dict[str, str] = msgspec.field(default_factory=dict)  # of a modal: block id -> what was entered


def from_command(form: Mapping[str, Any]) -> Envelope:
    """A slash command: the form of the HTTP door, or the payload of the socket. Raises BadPayload."""
    _string(form, "command", needed=True)
    return Envelope(
        key=_key(form, "command"),
        kind=Kind.COMMAND,
        app=_string(form, "api_app_id"),
        team=_string(form, "team_id"),
        user=_string(form, "user_id", needed=True),
        name=_string(form, "user_name"),
        channel=_string(form, "channel_id"),
        trigger=_string(form, "trigger_id"),
        response_url=_string(form, "response_url", limit=TEXT_MAX),
        text=_string(form, "text", limit=TEXT_MAX),
    )


def from_interaction(payload: Any) -> Envelope:
    """A click or a submitted modal, in Slack's JSON. Raises BadPayload."""
    if not isinstance(payload, dict):
        raise BadPayload("the payload is no object")
    user, team = _part(payload, "user"), _part(payload, "team")
    common: dict[str, Any] = {
        "app": _string(payload, "api_app_id"),
        "team": _string(team, "id") or _string(user, "team_id"),
        "user": _string(user, "id", needed=True),
        "user_team": _string(user, "team_id"),
        "name": _string(user, "username") or _string(user, "name"),
        "trigger": _string(payload, "trigger_id"),
    }
    match payload.get("type"):
        case "block_actions":
            return _click(payload, common)
        case "view_submission":
            return _submit(payload, common)
    raise BadPayload(f"nobody here asked for {str(payload.get('type'))[:40]!r}")


def _click(payload: dict[str, Any], common: dict[str, Any]) -> Envelope:
    actions = payload.get("actions")
    if not isinstance(actions, list) or len(actions) != 1 or not isinstance(actions[0], dict):
        raise BadPayload("a click is of one element")
    (action,) = actions
    chosen = _part(action, "selected_option")
    container = _part(payload, "container")
    channel = _part(payload, "channel")
    return Envelope(
        key=_key(payload, "click"),
        kind=Kind.CLICK,
        channel=_string(channel, "id") or _string(container, "channel_id"),
        thread=_string(container, "thread_ts") or _string(container, "message_ts"),
        response_url=_string(payload, "response_url", limit=TEXT_MAX),
        action=_string(action, "action_id"),
        value=_string(chosen, "value") or _string(action, "value"),
        **common,
    )


def _submit(payload: dict[str, Any], common: dict[str, Any]) -> Envelope:
    view = _part(payload, "view")
    values = _part(_part(view, "state"), "values")
    if len(values) > FIELDS_MAX:
        raise BadPayload("a form with more fields than any of ours")
    return Envelope(
        key=_key(payload, "submit"),
        kind=Kind.SUBMIT,
        action=_string(view, "callback_id"),
        value=_string(view, "private_metadata", limit=TEXT_MAX),
        fields={str(block)[:ID_MAX]: _entered(inner) for block, inner in values.items()},
        **common,
    )


def _entered(block: Any) -> str:
    """What one block of a form holds: it has one element."""
    if not isinstance(block, dict) or len(block) != 1:
        raise BadPayload("a field is one element")
    (element,) = block.values()
    if not isinstance(element, dict):
        raise BadPayload("a field is one element")
    chosen = _part(element, "selected_option")
    return _string(chosen, "value") or _string(element, "value", limit=TEXT_MAX)


def _part(payload: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = payload.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadPayload(f"{name} is no object")
    return found


def _string(payload: Mapping[str, Any], name: str, *, limit: int = ID_MAX, needed: bool = False) -> str:
    found = payload.get(name)
    if found is None:
        found = ""
    if not isinstance(found, str) or len(found) > limit or (needed and not found):
        raise BadPayload(f"{name} is not what Slack sends")
    return found


def _key(payload: Mapping[str, Any], kind: str) -> str:
    """Slack gives each act of a person one trigger; where there is none, the same words are the same act."""
    trigger = _string(payload, "trigger_id")
    if trigger:
        return f"{kind} {trigger}"
    said = repr(sorted((str(name), repr(value)) for name, value in payload.items()))
    return f"{kind} {hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()}"
