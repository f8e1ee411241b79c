"""Would we hurt what we live on, or act on a name that is not what it seems? No playbook can lift this."""

from __future__ import annotations

import re

from consulguard.guard.answer import Answer, allow, deny, strictest, wait
from consulguard.guard.reach import covers, overlap, reach
from consulguard.guard.situation import Situation
from consulguard.model import Target

BUILT_IN = ("consul", "consulguard")
SIDECAR = "-sidecar-proxy"
# Consul's own API takes a name percent-encoded or as JSON; everything else may end in an argv or a URL.
ENCODED = re.compile(r"[!-~]{1,255}")
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,128}")


def guard(s: Situation) -> Answer:
    return strictest((_denied(s), _our_own(s), _elsewhere(s), _names(s)))


def _denied(s: Situation) -> Answer:
    services = {name.casefold() for name in (*BUILT_IN, *s.policy.guard.deny)}
    nodes = {name.casefold() for name in s.policy.guard.deny_nodes}
    for target in _targets(s):
        if target.service.casefold().removesuffix(SIDECAR) in services:
            return deny(f"the service {target.service} is on the deny list")
        if target.kind == "node" and target.node.casefold() in nodes:
            return deny(f"the node {target.node} is on the deny list")
    return allow("the target is not on the deny list")


def _our_own(s: Situation) -> Answer:
    """A node we need is safe from actions on the node; its other instances are not ours."""
    for own in s.policy.own_targets:
        for target in _targets(s):
            hit = covers(target, own) if own.kind == "node" else overlap(target, own)
            if hit and target.name:
                return deny(f"acting on {target.name} would hit {own.name}, which consulguard needs to live")
    return allow("the target is nothing we need ourselves")


def _elsewhere(s: Situation) -> Answer:
    """What another unit leads is that unit's to act upon, whatever we know of it."""
    for target in _targets(s):
        if target.name and not s.policy.ours(target):
            return deny(f"{target.name} is in {target.dc}, which is led by itself: we do not act there")
    return allow("the target is ours to act upon")


def _names(s: Situation) -> Answer:
    """Look-alike letters, spaces, control characters and leading dashes: shown, never acted upon."""
    pattern = ENCODED if s.intent.action.startswith("consul.") else PLAIN
    target = s.intent.target
    for name in (target.service, target.node, target.instance):
        if name and (name.startswith("-") or not pattern.fullmatch(name)):
            return wait(s, f"unsafe name {name!a}: {s.intent.action} is not given such names")
    return allow("the names are safe")


def _targets(s: Situation) -> tuple[Target, ...]:
    """What the intent is aimed at, what it widens to, and what its parameters name."""
    target = s.intent.target
    named = []
    for key in ("service", "node"):
        value = s.intent.params.get(key)
        if isinstance(value, str) and value:
            named.append(
                Target(dc=target.dc, partition=target.partition, namespace=target.namespace, **{key: value})
            )
    return (target, reach(s), *named)
