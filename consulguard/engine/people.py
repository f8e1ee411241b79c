"""Who speaks: what the door knows of the person behind a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consulguard.events import Commanded

KINDS = ("users", "slack_users", "slack_usergroups")  # the words of ``approval.approvers``


def identity(said: Commanded) -> str:
    """Equal exactly when the same account speaks through the same kind of door; names do not matter.

    Without a caller (the command line of old) it is the text for people.
    """
    caller = _caller(said)
    if caller is None:
        return said.who
    return "|".join(str(caller.get(part, "")) for part in ("via", "team", "user"))


def same(said: Commanded, who: str, account: str) -> bool:
    """Whether it is the one on record; ``account`` is empty where only a name was kept."""
    return identity(said) == account if account else said.who == who


def names(said: Commanded) -> Mapping[str, tuple[str, ...]]:
    """Kind of approver -> the names this person goes by. Where a door says who it is, nothing else counts."""
    caller = _caller(said)
    if caller is None:
        return {kind: tuple(said.args.get(kind, ())) for kind in KINDS}
    user = str(caller.get("user", ""))
    if not user:
        return {}
    if caller.get("via") == "slack":
        return {"slack_users": (user,), "slack_usergroups": tuple(caller.get("groups", ()))}
    return {"users": (user,)} if caller.get("via") == "cli" else {}


def _caller(said: Commanded) -> Mapping[str, Any] | None:
    caller = said.args.get("caller")
    return caller if isinstance(caller, Mapping) else None
