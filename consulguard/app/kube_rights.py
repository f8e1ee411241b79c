"""Whether Kubernetes lets us do what the playbooks would: asked, not tried."""

from __future__ import annotations

import asyncio

from consulguard.act.kubernetes.api import connected
from consulguard.act.kubernetes.rights import CORDON, NEEDS, lacking
from consulguard.app import wiring
from consulguard.app.rights import Finding
from consulguard.clock import SystemClock
from consulguard.config import Loaded, settings
from consulguard.errors import ActionRefused, NotSent

AREA = "kubernetes"


async def kubernetes_rights(loaded: Loaded, timeout_s: float) -> list[Finding]:
    """One for each namespace, or node, and each action a playbook uses there. Raises ConfigError."""
    wanted = settings.act_settings(loaded).kubernetes
    used = _used(loaded)
    places = [(namespace, [a for a in used if a != CORDON]) for namespace in wanted.namespaces]
    places += [("default", [CORDON])] if wanted.cordon and CORDON in used else []
    found: list[Finding] = []
    for namespace, actions in (place for place in places if place[1]):
        try:
            async with asyncio.timeout(timeout_s), connected(wanted) as kube:
                rules = await kube.rules(namespace)
        except (NotSent, ActionRefused) as error:
            return [*found, Finding(area=AREA, ok=False, text=f"{error}; check actions.kubernetes")]
        except TimeoutError:
            return [*found, Finding(area=AREA, ok=False, text=f"no answer within {timeout_s:g} s")]
        for action in actions:
            where = "nodes" if action == CORDON else f"namespace {namespace}"
            lacks = lacking(action, rules)
            text = f"lacks {', '.join(lacks)}; see docs/actions.md" if lacks else "has its rights"
            found.append(Finding(area=AREA, ok=not lacks, text=f"{action} in {where} {text}"))
    return found


def _used(loaded: Loaded) -> list[str]:
    """Actions of Kubernetes that some usable playbook has as a step or an undo."""
    given, _ = wiring.configured(loaded, SystemClock().now())
    steps = [step for playbook in given.playbooks for step in playbook.steps]
    names = {step.uses for step in steps} | {step.undo.uses for step in steps if step.undo is not None}
    return sorted(names & NEEDS.keys())
