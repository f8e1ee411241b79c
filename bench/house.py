"""A whole daemon for a bench: configuration, journal and playbooks in a folder that is thrown away."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consulguard.config import Loaded
from consulguard.config.load import load

# Everything critical, one instance at a time, at once: only the guards stand between this and 100,000 actions.
EVERYTHING = """
name: everything
mode: auto
match:
  role: root_cause
  scope: instance
  states: [critical, flapping, vanished]
  for: 1s
  matchers: ['service=~"svc-.*"']
  unless: [maintenance, untrusted_view]
steps:
  - {name: note, uses: consul.kv_put, with: {key: "bench/${target.instance}", value: "touched"}}
verify: {within: 30s, target: {passing_for: 2}}
"""


@contextlib.contextmanager
def house(address: str, playbook: str = EVERYTHING, **sections: dict[str, Any] | str) -> Iterator[Loaded]:
    """A configuration that watches ``address``, with one playbook; ``sections`` lie over it."""
    with tempfile.TemporaryDirectory(prefix="consulguard-bench-") as folder:
        root = Path(folder)
        (root / "playbooks").mkdir()
        (root / "playbooks" / "playbook.yaml").write_text(playbook)
        config: dict[str, Any] = {
            "mode": "auto",
            "consul": {"http_addr": address},
            "journal": {"path": str(root / "journal.sqlite")},
            "playbooks": {"dir": str(root / "playbooks")},
            "notify": {"console": True},
        }
        path = root / "consulguard.yaml"
        path.write_text(json.dumps({**config, **sections}))  # JSON is YAML
        yield load(str(path), env={})
