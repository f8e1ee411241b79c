"""Where every command from outside passes: may this person say it? What is refused is only put on record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from consulguard.access import AccessPolicy, refusal
from consulguard.events import Reply
from consulguard.model import Caller

BY_COMMAND_LINE = " (command line)"  # behind the name, for people to read
SUBJECT = 200  # characters of what was refused
_NAMED = ("id", "incident", "offer", "playbook", "service", "reason")
_OURS = ("caller", "users", "slack_users", "slack_usergroups")  # who speaks is never the request's own word

Command = Callable[[str, dict[str, Any], str], Awaitable[Reply | None]]


class Desk:
    """``command`` is the daemon's."""

    def __init__(self, command: Command, policy: AccessPolicy) -> None:
        self._command = command
        self.policy = policy

    async def say(
        self, caller: Caller, command: str, args: dict[str, Any], *, who: str, verb: str = ""
    ) -> Reply | None:
        """Pass the command on, signed. ``verb``: what is checked where the command only points to it (a click)."""
        verb = verb or command
        given = {key: value for key, value in args.items() if key not in _OURS}
        if why := refusal(self.policy, caller, verb):
            await self._command("refused", refused(caller, verb, given, why), who)
            return Reply(key="", ok=False, text=why, blocked=True)
        signature = {"caller": msgspec.to_builtins(caller), **_persons(caller)}
        return await self._command(command, {**given, **signature}, who)

    async def say_locally(self, command: str, args: dict[str, Any], who: str) -> Reply | None:
        """From the control socket. Whoever it lets in gives their own name: the journal itself is theirs."""
        return await self.say(local(who), command, args, who=who)


def refused(caller: Caller, verb: str, args: Mapping[str, Any], why: str) -> dict[str, Any]:
    """What the journal keeps of what somebody wanted and may not, as the args of a command ``refused``."""
    subject = next((str(args[key])[:SUBJECT] for key in _NAMED if args.get(key)), "")
    return {"verb": verb, "subject": subject, "why": why, "caller": msgspec.to_builtins(caller)}


def local(who: str) -> Caller:
    """Who speaks on the command line."""
    return Caller(via="cli", user=who.removesuffix(BY_COMMAND_LINE))


def _persons(caller: Caller) -> dict[str, Any]:
    """The names by which a question's own approvers are looked up."""
    if caller.via == "slack":
        return {"slack_users": [caller.user], "slack_usergroups": list(caller.groups)}
    return {"users": [caller.user]} if caller.via == "cli" else {}


def told(reply: Reply | None) -> dict[str, Any]:
    """The engine's answer, as the control socket gives it; None: it had none."""
    reply = reply or Reply(key="", ok=True, text="")
    return {"ok": reply.ok, "text": reply.text, "blocked": reply.blocked, "subject": reply.subject}
