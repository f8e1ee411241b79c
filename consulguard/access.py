"""Who may say what: four roles, people by their ids, and the role each command needs. Pure.

A role is held by whom it lists, nobody else: an empty list means nobody. Where it names Slack channels, it is held
there only. Whoever holds a role may do what the lower ones may. docs/access.md says it in words for operators.
"""

from __future__ import annotations

from typing import Final

from consulguard.model import Caller, Value

ROLES: Final = ("viewer", "operator", "approver", "admin")  # each may do what those before it may

_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "viewer": ("help", "status", "incidents", "show", "explain", "timeline", "topology", "plan"),
    "operator": ("ack", "assign", "silence", "expire", "pause", "run", "resolve", "reopen"),
    "approver": ("approve", "deny"),
    "admin": ("resume", "stop", "rearm"),  # to undo a brake needs more than to pull one
}
VERBS: Final[dict[str, str]] = {verb: role for role, verbs in _NEEDS.items() for verb in verbs}  # verb -> role


class Role(Value, frozen=True, kw_only=True):
    """Who holds it."""

    users: tuple[str, ...] = ()  # system users, on the command line
    slack_users: tuple[str, ...] = ()  # ids (U...)
    slack_usergroups: tuple[str, ...] = ()  # ids (S...)
    slack_channels: tuple[str, ...] = ()  # in these only; empty: wherever they write


class AccessPolicy(Value, frozen=True, kw_only=True):
    slack_teams: tuple[str, ...] = ()  # ids (T...) of the workspaces whose people may say anything at all
    viewer: Role = Role()
    operator: Role = Role()
    approver: Role = Role()
    admin: Role = Role()

    def role(self, name: str) -> Role:
        found: Role = getattr(self, name)
        return found

    @property
    def names_users(self) -> bool:
        """Whether any system user is listed. If not, whoever the control socket lets in is admin."""
        return any(self.role(name).users for name in ROLES)


def refusal(policy: AccessPolicy, caller: Caller, verb: str) -> str:
    """Why the caller may not, as one sentence for them; empty: they may."""
    needed = VERBS.get(verb)
    if needed is None:
        return f"there is no command {verb!r}"
    if caller.via == "slack" and caller.team not in policy.slack_teams:
        return "people of this Slack workspace are not known here"
    held = _highest(policy, caller, anywhere=False)
    if _covers(held, needed):
        return ""
    if _covers(_highest(policy, caller, anywhere=True), needed):
        return f"{verb} needs the role {needed}, which you do not have in this channel"
    return f"{verb} needs the role {needed}; you have {held or 'none'}"


def allowed(policy: AccessPolicy, caller: Caller) -> tuple[str, ...]:
    """The verbs the caller may say, in the order of the table."""
    return tuple(verb for verb in VERBS if not refusal(policy, caller, verb))


def _covers(held: str, needed: str) -> bool:
    return held != "" and ROLES.index(held) >= ROLES.index(needed)


def _highest(policy: AccessPolicy, caller: Caller, *, anywhere: bool) -> str:
    """The caller's highest role, here or in any channel; empty: none."""
    if caller.via == "cli" and not policy.names_users:
        return ROLES[-1]
    held = [name for name in ROLES if _holds(policy.role(name), caller, anywhere)]
    return held[-1] if held else ""


def _holds(role: Role, caller: Caller, anywhere: bool) -> bool:
    if caller.via == "cli":
        return caller.user in role.users
    if caller.via != "slack":
        return False
    listed = caller.user in role.slack_users or not set(caller.groups).isdisjoint(role.slack_usergroups)
    return listed and (anywhere or not role.slack_channels or caller.channel in role.slack_channels)
