"""Write the parts of docs/ that are made from code; with --check only say whether they are current (exit 1)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from consulguard import health, plan
from consulguard.config import schema
from consulguard.config.schema import Config

DOCS = Path(__file__).parents[1] / "docs"
LEVELS = ("check", "instance", "service", "node")


def pages() -> dict[str, str]:
    return {
        "playbook.schema.json": json.dumps(plan.json_schema(), indent=2, ensure_ascii=False) + "\n",
        "config.schema.json": json.dumps(schema.json_schema(), indent=2, ensure_ascii=False) + "\n",
        "configuration.md": configuration(),
        "state-machines.md": machines(),
    }


def machines() -> str:
    parts = ["# State machines\n\nMade from `consulguard/health/tables.py` by `make docs`; see [health.md](health.md)."]
    parts += [f"\n## {level}\n\n```mermaid\n{health.to_mermaid(level).strip()}\n```" for level in LEVELS]
    return "\n".join(parts) + "\n"


def configuration() -> str:
    """The settings table; the words around it stand here, the settings in config/schema.py."""
    lines = [
        "# Configuration",
        "",
        "The file is found in this order: `--config`, `$CONSULGUARD_CONFIG`, `./consulguard.yaml`,",
        "`$XDG_CONFIG_HOME/consulguard/config.yaml`, `/etc/consulguard/config.yaml`. A flag beats the environment, the",
        "environment beats the file, the file beats the default. Consul's and Slack's own variables are taken without a",
        "prefix (`CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_SSL`, `CONSUL_CACERT`,",
        "`CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME`, `CONSUL_NAMESPACE`, `CONSUL_PARTITION`,",
        "`SLACK_BOT_TOKEN`); every other setting is `CONSULGUARD_<SECTION>_<KEY>`.",
        "",
        "Durations are one whole number and a unit (`90s`, `15m`, `2h`, `7d`), shares are percentages (`50%`). Unknown",
        "keys are errors. Secrets stand in files of their own (`*_file`) or in the environment, never in this file.",
        "`config.schema.json` is the JSON Schema for editors. This page is made by `make docs`.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    defaults = Config()
    for name, field in Config.model_fields.items():
        section = getattr(defaults, name)
        inner = getattr(type(section), "model_fields", None)
        if inner is None:
            lines.append(f"| `{name}` | `{section}` | {field.description or ''} |")
            continue
        lines += [f"| `{name}.{key}` | {shown(section, key)} | {f.description or ''} |" for key, f in inner.items()]
    return "\n".join(lines) + "\n"


def shown(section: Any, key: str) -> str:
    value = getattr(section, key)
    kind = str(type(section).model_fields[key].metadata)
    if hasattr(type(value), "model_fields"):
        return "see below" if not type(value).model_fields else ", ".join(f"`{k}`" for k in type(value).model_fields)
    if isinstance(value, float):
        return f"`{value:.0%}`" if "_share" in kind else f"`{plan.duration.format_duration(value)}`"
    return f"`{json.dumps(value)}`" if value not in ("", [], {}) else "empty"


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
