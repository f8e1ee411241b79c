"""Is it clear what is meant? An empty or all-embracing selection is an error, never "everything"."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, deny, plural
from consulguard.guard.reach import touches_nothing
from consulguard.guard.situation import Situation
from consulguard.model import Match, Matcher

ALWAYS_SET = ("service", "datacenter", "namespace", "partition", "scope", "role", "state")


def guard(s: Situation) -> Answer:
    target = s.intent.target
    if s.matched < 1:
        return deny(f"the playbook {s.playbook.id} matches nothing, so there is nothing to act on")
    if any("*" in part for part in (target.dc, target.service, target.node, target.instance)):
        return deny(f"the target {target.name} is a pattern, not the name of one thing")
    if not target.name and not touches_nothing(s):
        return deny("the target names no service, no node and no instance")
    if target.instance and not target.node:
        return deny(f"the instance {target.instance} has no node, so it may be any of several")
    if narrows_nothing(s.playbook.match) and not s.playbook.match.match_all:
        return deny(f"no matcher of {s.playbook.id} narrows the choice, and it does not say match_all")
    return allow(f"{plural(s.matched, 'subject')} selected, the target is {target.name or 'the incident'}")


def narrows_nothing(match: Match) -> bool:
    """Whether every service would pass the matchers: there are none, or each is always true."""
    return all(always_true(m) for m in match.matchers)


def always_true(matcher: Matcher) -> bool:
    pattern = matcher.value.removeprefix("^").removesuffix("$").removeprefix("(").removesuffix(")")
    if matcher.op == "=~":
        return pattern == ".*" or (pattern == ".+" and matcher.name in ALWAYS_SET)
    return matcher.op in ("!=", "!~") and not matcher.value and matcher.name in ALWAYS_SET
