"""What the demo needs besides the sample shop: a Consul, a configuration with short waits, and two playbooks."""

from __future__ import annotations

from pathlib import Path

from consulguard.testing.mesh import SampleMesh

CONFIG = """
mode: auto
consul: {{http_addr: "{address}"}}
watch: {{settle: 3s}}
health: {{recovery: 3s, calm: 8s, flap_changes: 3, flap_window: 60s}}
correlate: {{resolve: 3s}}
guards:
  hold_down: 3s
  root_settle: 2s
  min_start_interval: 1s
  storm_cooldown: 5s
  storm_share: 60%
notify: {{group_wait: 3s}}
journal: {{path: journal.sqlite}}
actions:
  http:
    hosts:
      shop-admin: {{url: "{admin}", private: true}}
"""

RESTART = """
name: restart-instance
description: Take one sick instance out of the mesh, restart it, and let it back in.
mode: auto
priority: 50
match:
  role: root_cause
  scope: instance
  states: [critical]
  for: 3s
  matchers: ['service=~"SERVICES"']
steps:
  - name: drain
    uses: consul.maintenance
    with: {enable: true, reason: "restart for ${incident.id}"}
    undo: {uses: consul.maintenance, with: {enable: false}}
    timeout: 10s
  - name: restart
    uses: http.request
    with: {method: POST, url: "URL", idempotent: true}
    timeout: 20s
  - name: rejoin
    uses: consul.maintenance
    with: {enable: false}
    timeout: 10s
verify: {within: 30s, target: {passing_for: 3}}
on_failure: undo
"""

REPLACE = """
name: replace-node
description: Ask whoever provides nodes for a new one in place of a lost one.
mode: auto
priority: 40
match:
  role: root_cause
  scope: node
  states: [critical]
  for: 3s
  matchers: ['node=~"rack-.*"']
steps:
  - name: order
    uses: consul.kv_put
    with: {key: "shop/replace/${target.node}", value: "${incident.id}"}
    timeout: 10s
verify: {within: 30s, target: {passing_for: 3}}
on_failure: hold
"""

ORDERS = "shop/replace/"  # KV prefix under which playbooks order a new node


def write(folder: Path, address: str, mesh: SampleMesh) -> Path:
    """Write the demo's configuration and playbooks into a folder; returns the configuration file."""
    playbooks = folder / "playbooks"
    playbooks.mkdir()
    url = f"{mesh.admin_address}/admin/restart/${{target.instance}}"
    restart = RESTART.replace("URL", url).replace("SERVICES", "|".join(mesh.services))
    (playbooks / "restart-instance.yaml").write_text(restart)
    (playbooks / "replace-node.yaml").write_text(REPLACE)
    config = folder / "consulguard.yaml"
    config.write_text(CONFIG.format(address=address, admin=mesh.admin_address))
    for file in (config, *playbooks.iterdir()):
        file.chmod(0o600)
    return config
