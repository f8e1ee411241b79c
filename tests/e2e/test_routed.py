"""Two Slack channels and a real Alertmanager, each told what is theirs: the whole daemon, on a Consul twin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from consulguard.testing import ConsulTwin, SlackTwin
from consulguard.testing.slack_twin import SlackMessage

from tests.e2e.test_slack_one_way import FAST, GREEN, Scene, color
from tests.support.alertmanager import RealAlertmanager, need_alertmanager

pytestmark = [pytest.mark.slow, pytest.mark.real]
ROUTE = {
    "receiver": "slack",
    "routes": [
        {"matchers": ['kind="incident"', 'datacenter="dc1"'], "receiver": "alerts", "continue": True},
        {"matchers": ['team="payments"'], "receiver": "payments"},
        {"receiver": "slack"},
    ],
}


class Routed(Scene):
    """Every instance of pay says whose it is."""

    alertmanager = ""

    def configure(self, *, console: bool) -> None:
        token = self.folder / "token"
        token.write_text(self.slack.token)
        token.chmod(0o600)
        config = FAST | {
            "consul": {"http_addr": self.consul.address},
            "playbooks": {"allow_empty": True},
            "notify": {"group_wait": "1s", "console": console},
            "slack": {
                "enabled": True,
                "channel": "#incidents",
                "bot_token_file": str(token),
                "api_url": self.slack.api,
            },
            "receivers": {
                "payments": {"kind": "slack", "channel": "#payments"},
                "alerts": {"kind": "alertmanager", "url": self.alertmanager, "refresh": "2s"},
            },
            "route": ROUTE,
        }
        self._config = self.folder / "consulguard.yaml"
        self._config.write_text(json.dumps(config))

    def _register(self, name: str, number: int) -> None:
        self.consul.agent.register(
            {
                "ID": f"{name}-{number}",
                "Name": name,
                "Meta": {"team": "payments"} if name == "pay" else {},
                "Check": {"TTL": "600s", "Status": "passing"},
            }
        )

    def shown(self, channel: str) -> list[SlackMessage]:
        place = self.slack.channel(channel).id
        return [m for m in self.slack.parents() if m.channel == place]

    def told(self, channel: str) -> list[str]:
        return [m.text for m in self.shown(channel)]


async def test_each_is_told_what_is_theirs(tmp_path: Path) -> None:
    need_alertmanager()
    with RealAlertmanager() as alertmanager:
        Routed.alertmanager = alertmanager.address
        async with ConsulTwin() as consul, SlackTwin(channels=("incidents", "payments")) as slack:
            scene = Routed(consul, slack, tmp_path)
            async with scene.daemon():
                scene.set("critical", "pay-1")
                await scene.until(lambda: scene.told("payments") and alertmanager.alerts())
                scene.set("critical", "mail-1")
                await scene.until(lambda: scene.told("incidents") and len(alertmanager.alerts()) == 2)
                first = alertmanager.alerts()[0]["endsAt"]
                await scene.until(lambda: alertmanager.alerts()[0]["endsAt"] > first)  # it is told again and again
                assert scene.told("payments") == ["[CRITICAL] pay: root cause"]
                assert scene.told("incidents") == ["[CRITICAL] mail: root cause"]
                assert {a["labels"]["service"] for a in alertmanager.alerts()} == {"mail", "pay"}

                scene.set("passing", "pay-1")
                await scene.until(lambda: [color(m) for m in scene.shown("payments")] == [GREEN])
                await scene.until(lambda: [a["labels"]["service"] for a in alertmanager.alerts()] == ["mail"])
                assert scene.told("incidents") == ["[CRITICAL] mail: root cause"]
