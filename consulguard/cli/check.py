"""``consulguard check``: configuration, playbooks, Consul access and rights, before the trouble."""

from __future__ import annotations

import asyncio
from typing import Any

from consulguard.app import configured
from consulguard.app.kube_rights import kubernetes_rights
from consulguard.app.reach import receiver_findings
from consulguard.app.rights import Finding, consul_rights, prometheus_rights
from consulguard.app.slack_rights import slack_rights
from consulguard.cli import doors, printing
from consulguard.cli.options import Options
from consulguard.clock import SystemClock
from consulguard.config import Loaded, settings
from consulguard.config.secrets import open_to_all


def check(options: Options) -> int:
    """Say what works and what is missing, each with what to do."""
    loaded = options.load()
    findings = [Finding(area="config", ok=True, text=f"read from {loaded.path or 'defaults: no file found'}")]
    findings += [Finding(area="secrets", ok=True, text=f"warning: {told}") for told in open_to_all(loaded)]
    settings.act_settings(loaded)  # the files that actions need; raises ConfigError
    given, broken = configured(loaded, SystemClock().now())
    findings += [Finding(area="playbooks", ok=False, text=str(error)) for error in broken]
    findings.append(Finding(area="playbooks", ok=True, text=f"{len(given.playbooks)} usable"))
    findings += asyncio.run(_outside(loaded, options.timeout_s))
    answer: list[dict[str, Any]] = [{"area": f.area, "ok": f.ok, "text": f.text} for f in findings]
    if not printing.data(options, answer):
        out = printing.console(options)
        for finding in findings:
            mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]"
            out.print(f"{mark} {finding.area}: {printing.safe(finding.text)}")
    if all(f.ok for f in findings):
        return doors.OK
    return doors.CONSUL if any(f.area == "consul" and not f.ok for f in findings) else doors.LINT


async def _outside(loaded: Loaded, timeout_s: float) -> list[Finding]:
    asked = (consul_rights, prometheus_rights, kubernetes_rights, slack_rights, receiver_findings)
    return [finding for ask in asked for finding in await ask(loaded, timeout_s)]
