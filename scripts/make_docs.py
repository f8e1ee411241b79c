"""Write what of docs/ and of the chart is made; with --check only say whether it is current (exit 1)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import make_chart
from consulguard import correlate, health, plan
from consulguard.config import schema
from consulguard.config.schema import Config
from consulguard.plan.strict import Strict
from pydantic.fields import FieldInfo

DOCS = Path(__file__).parents[1] / "docs"
LEVELS = ("check", "instance", "service", "node")


def pages() -> dict[str, str]:
    return {
        "playbook.schema.json": json.dumps(plan.json_schema(), indent=2, ensure_ascii=False) + "\n",
        "config.schema.json": json.dumps(schema.json_schema(), indent=2, ensure_ascii=False) + "\n",
        "configuration.md": configuration(),
        "state-machines.md": machines(),
        "../helm/consulguard/README.md": make_chart.readme(),
        "../helm/consulguard/dashboards/consulguard.json": make_chart.dashboard_json(),
    }


def machines() -> str:
    made = "Made from `consulguard/health/tables.py` and `consulguard/correlate/machine.py` by `make docs`."
    parts = [f"# State machines\n\n{made}"]
    parts += [f"\n## {level}\n\n```mermaid\n{health.to_mermaid(level).strip()}\n```" for level in LEVELS]
    parts.append(f"\n## incident\n\n{INCIDENT}\n\n```mermaid\n{correlate.incident_mermaid().strip()}\n```")
    return "\n".join(parts) + "\n"


INCIDENT = """`fails`, `calms`, `lasted` and `absorbed` are the mesh and time, `resolve` and `reopen` are people;
what holds for these two is in [silences.md](silences.md#by-hand)."""

WORDS = """# Configuration

The file is found in this order: `--config`, `$CONSULGUARD_CONFIG`, `./consulguard.yaml`,
`$XDG_CONFIG_HOME/consulguard/config.yaml`, `/etc/consulguard/config.yaml`; `-` is stdin. A flag beats the
environment, the environment beats the file, the file beats the default. Consul's and Slack's own variables are
taken without a prefix (`CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_SSL`,
`CONSUL_CACERT`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME`, `CONSUL_NAMESPACE`,
`CONSUL_PARTITION`, `SLACK_BOT_TOKEN`); every other setting is `CONSULGUARD_<SECTION>_<KEY>`, for example
`CONSULGUARD_GUARDS_MAX_OPEN=1`. Lists are separated by commas there; mappings can only be given in the file.

Durations are one whole number and a unit (`90s`, `15m`, `2h`, `7d`; 30 days at most), shares are percentages
(`50%`). Unknown keys are errors, in the file and in the environment.

Secrets stand in files of their own (`*_file`) or in the environment, never in this file. The configuration,
playbooks and secret files must belong to root or to the user consulguard runs as, and not everybody may write them
(`chmod o-w`); else nothing starts. A token file is read again when it changes.

A playbook that cannot be used keeps the daemon from starting: exit code 78, with file, line and key. Two playbooks
of one name are both unusable. While the daemon runs it takes changed playbooks over by itself, or at once at a
SIGHUP; a run under way keeps the version it began with. A version that cannot be used changes nothing: the last
good one stays in force, `consulguard_config_stale` is 1, and people are told where and why. Verbs that only read
show what cannot be used as disabled (`consulguard playbook list`).

Other settings are taken over in the same way, all at once: a changed configuration is prepared as a start would,
and where anything would be refused the old one stays in force and people are told. Otherwise what is under way
ends, the daemon begins anew in the same process, and settles (`watch.settle`) before it acts; one of several
replicas gives the lease away for that. A new `server.listen` or `slack.listen` that somebody else has taken ends
the daemon, as at a start.

`config.schema.json` is the JSON Schema for editors. This page is made by `make docs`.

| setting | default | meaning |
|---|---|---|
"""


def configuration() -> str:
    """The settings table; the settings themselves stand in config/schema.py."""
    return WORDS + "\n".join(rows(Config())) + "\n"


def rows(section: Strict, above: str = "") -> Iterator[str]:
    """One row for each setting; those of named things (hosts) as ``section.<name>.key``, of lists ``[]``."""
    for key, field in type(section).model_fields.items():
        value, name = getattr(section, key), f"{above}{key}"
        if isinstance(value, Strict):
            yield from rows(value, f"{name}.")
            continue
        yield f"| `{name}` | {shown(value, field)} | {field.description or ''} |"
        below = f"{name}." if value is None else f"{name}[]." if isinstance(value, list) else f"{name}.<name>."
        for inner in get_args(field.annotation):
            if isinstance(inner, type) and issubclass(inner, Strict):
                for part, what in inner.model_fields.items():
                    if isinstance(what.default, Strict):
                        yield from rows(what.default, f"{below}{part}.")
                        continue
                    default = "required" if what.is_required() else shown(what.default, what)
                    yield f"| `{below}{what.alias or part}` | {default} | {what.description or ''} |"


def shown(value: Any, field: FieldInfo) -> str:
    if isinstance(value, float):
        return f"`{value:.0%}`" if "_share" in str(field.metadata) else f"`{plan.duration.format_duration(value)}`"
    if "_size" in str(field.metadata):
        return f"`{plan.strict.format_size(value)}`"
    if isinstance(value, str) and value:
        return f"`{value}`"
    return f"`{json.dumps(value)}`" if value not in ("", [], {}, None) else "empty"


def main() -> int:
    stale = []
    for name, text in pages().items():
        path = DOCS / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"not current: {', '.join(stale)}; run: make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
