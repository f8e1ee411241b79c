"""A secret that every user of the machine may read is told: by `check`, and when the daemon starts."""

from __future__ import annotations

from pathlib import Path

from consulguard.config import load
from consulguard.config.secrets import secret_files

from tests.shell.cli.support import Cli

SECRETS = """
consul: {token_file: consul}
journal: {dsn_file: dsn}
notify: {heartbeat_url_file: beat}
slack: {bot_token_file: bot, app_token_file: app, signing_secret_file: signing}
tracing: {headers_file: collector}
receivers: {am: {kind: alertmanager, url: "http://am:9093", token_file: am}, page: {kind: apprise, url_file: page}}
actions:
  http: {hosts: {gate: {url: "http://gate", headers_file: gate}}}
  prometheus: {token_file: prom}
  ssh: {key_file: key}
"""


def test_every_secret_of_the_configuration_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SECRETS)
    names = {path.name for path in secret_files(load(str(tmp_path / "c.yaml"), {}, {}))}
    known = {"consul", "dsn", "beat", "bot", "app", "signing", "collector", "am", "page", "gate", "prom", "key"}
    assert names == known


def test_check_and_start_tell_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret-token")
    cli = Cli(tmp_path, consul={"http_addr": "http://127.0.0.1:1", "token_file": str(token)})
    for mode, told in ((0o644, True), (0o640, False)):
        token.chmod(mode)
        sentence = f"everybody may read {token}; run: chmod o-r {token}"
        findings = cli.with_config("check", "-o", "json").json
        warned = [f for f in findings if f["area"] == "secrets"]
        assert [f["text"] for f in warned] == ([f"warning: {sentence}"] if told else [])
        log = cli.with_config("run", "--once", "--timeout", "1", "--log-format", "json").err
        assert (sentence in log) is told
        assert "s3cret-token" not in log
