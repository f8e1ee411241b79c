"""What a real Alertmanager shows of what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import msgspec
import pytest
from aiohttp import web
from consulguard.clock import SystemClock
from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.model import Message, OutboxRow
from consulguard.notify.alertmanager import AlertmanagerNotifier, AlertmanagerSettings

from tests.support.alertmanager import RealAlertmanager, need_alertmanager
from tests.support.messages import incident, message
from tests.support.waiting import eventually

pytestmark = pytest.mark.real
NAME = "alertmanager:am"


@pytest.fixture(scope="module")
def server() -> Iterator[RealAlertmanager]:
    need_alertmanager()
    with RealAlertmanager() as started:
        yield started


def notifier(address: str, token: str = "") -> AlertmanagerNotifier:
    wanted = AlertmanagerSettings(name=NAME, url=address, refresh_s=60)
    return AlertmanagerNotifier(wanted, SystemClock(), (lambda: token) if token else None)


@pytest.fixture
async def channel(server: RealAlertmanager) -> AsyncIterator[AlertmanagerNotifier]:
    made = notifier(server.address)
    yield made
    await made.close()


def about(key: str, name: str, **fields: object) -> Message:
    broken = msgspec.structs.replace(incident(name), id=key)
    return msgspec.structs.replace(message(key, **fields), incident=broken)  # type: ignore[arg-type]


def row(told: Message, ref: dict | None = None) -> OutboxRow:
    return OutboxRow(channel=NAME, key=told.key, rev=told.version, message=told, ref=ref or {})


def mine(server: RealAlertmanager, key: str) -> list[dict]:
    return [a for a in server.alerts() if a["labels"]["consulguard"] == key]


async def test_an_incident_appears_is_updated_and_resolves(server, channel):
    ref = await channel.deliver(row(about("inc-1", "pay-api", title="pay-api: root cause")))
    (alert,) = mine(server, "inc-1")
    assert alert["labels"] == {
        "alertname": "ConsulguardIncident",
        "consulguard": "inc-1",
        "severity": "critical",
        "scope": "service",
        "service": "pay-api",
        "datacenter": "dc1",
        "namespace": "default",
        "partition": "default",
    }
    assert alert["annotations"]["summary"] == "[CRITICAL] pay-api: root cause"
    assert "Affected: checkout, cart, frontend" in alert["annotations"]["description"]
    assert alert["startsAt"].startswith("2026-01-01T12:00:00")
    left = datetime.fromisoformat(alert["endsAt"]) - SystemClock().now()
    assert timedelta(seconds=120) < left <= timedelta(seconds=240)

    again = about("inc-1", "pay-api", version=2, title="pay-api: a run is at work")
    ref = await channel.deliver(row(again, ref))
    (updated,) = mine(server, "inc-1")
    assert updated["fingerprint"] == alert["fingerprint"]
    assert updated["annotations"]["summary"] == "[CRITICAL] pay-api: a run is at work"

    ref = await channel.deliver(row(about("inc-1", "pay-api", version=3, severity="resolved"), ref))
    await eventually(_of(server, "inc-1"), lambda seen: seen == [], within_s=30)
    assert ref["labels"] is None


async def test_another_root_is_another_alert_and_the_one_before_is_over(server, channel):
    ref = await channel.deliver(row(about("inc-2", "cart")))
    ref = await channel.deliver(row(about("inc-2", "ledger", version=2), ref))
    shown = await eventually(_of(server, "inc-2"), lambda seen: len(seen) == 1, within_s=30)
    assert shown[0]["labels"]["service"] == "ledger"
    await channel.deliver(row(about("inc-2", "third", version=3, severity="resolved"), ref))
    await eventually(_of(server, "inc-2"), lambda seen: seen == [], within_s=30)


async def test_hostile_names_and_what_is_no_incident(server, channel):
    await channel.deliver(row(about("inc-3", 'a"b\\\n\u202e{evil="1"}')))
    (alert,) = mine(server, "inc-3")
    assert alert["labels"]["service"] == 'a"b\\ \N{REPLACEMENT CHARACTER}{evil="1"}'
    await channel.deliver(row(message("storm", title="Storm brake on")))
    (storm,) = mine(server, "storm")
    assert storm["labels"]["alertname"] == "ConsulguardStorm"
    assert await channel.deliver(row(message("digest", severity="info"))) == {"version": 1}
    assert await channel.deliver(row(message("view", severity="resolved"))) == {"version": 1}
    assert mine(server, "digest") + mine(server, "view") == []


async def test_a_server_that_is_away_is_tried_again():
    need_alertmanager()
    with RealAlertmanager() as server:
        channel = notifier(server.address)
        told = row(about("inc-4", "cart"))
        server.stop()
        with pytest.raises(NotifyUnavailable, match="does not answer"):
            await channel.deliver(told)
        server.start()
        await channel.deliver(told)
        assert mine(server, "inc-4")
        await channel.close()


async def test_a_wrong_path_is_no_success(server):
    channel = notifier(f"{server.address}/elsewhere")
    with pytest.raises(NotifyUnavailable, match="404"):
        await channel.deliver(row(about("inc-5", "cart")))
    await channel.close()


async def test_the_token_is_sent_and_a_refusal_is_final(unused_tcp_port):
    """Answers that a real one does not give without a proxy in front of it."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=400, text="bad \x1b[31m alert")

    app = web.Application()
    app.router.add_post("/api/v2/alerts", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    channel = notifier(f"http://127.0.0.1:{unused_tcp_port}", token="s3cret")
    with pytest.raises(NotifyRefused) as refused:
        await channel.deliver(row(about("inc-6", "cart")))
    assert seen == ["Bearer s3cret"]
    assert "s3cret" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    await channel.close()
    await runner.cleanup()


def _of(server: RealAlertmanager, key: str):
    async def look() -> list[dict]:
        return mine(server, key)

    return look
