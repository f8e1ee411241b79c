"""A real Alertmanager, through its v2 API: an alert for what lasts, ended when it is over.

Alertmanager forgets an alert at its ``endsAt``. So each delivery says for how long it holds, and what lasts is
delivered again before that; were we gone, it would resolve there by itself.

An alert is the same one as long as its labels are; the stored reference holds the ``labels`` of the last delivery.
With other labels it is another alert, and the one before is ended in the same request.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import aiohttp

from consulguard.clock import Clock
from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.model import Incident, JsonObject, Message, OutboxRow, Role, State, Value
from consulguard.notify import text

HOLDS = 4  # times the refresh: three may be missed
MEND_S = 60.0  # after a refusal that a person can mend
ANSWER_MAX = 300  # characters of its reason


class AlertmanagerSettings(Value, frozen=True, kw_only=True):
    name: str
    url: str  # without /api/v2
    refresh_s: float = 60.0
    timeout_s: float = 10.0


class AlertmanagerNotifier:
    """``token`` gives a bearer token, asked before each call; None: none is sent."""

    def __init__(
        self, settings: AlertmanagerSettings, clock: Clock, token: Callable[[], str] | None = None
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, row: OutboxRow) -> JsonObject:
        now, message = self._clock.now(), row.message
        before, over = row.ref.get("labels"), message.severity == "resolved"
        if (over and not before) or (not over and not _lasts(message)):
            return {**row.ref, "version": message.version}
        current = before if over and before else labels(message)
        ends = now if over else now + timedelta(seconds=HOLDS * self._settings.refresh_s)
        alerts = [alert(message, current, ends)]
        if before and before != current:
            alerts.append(alert(message, before, now))
        await self._post(alerts)
        return {"version": message.version, "labels": None if over else current}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, alerts: list[JsonObject]) -> None:
        if self._session is None:
            limit = aiohttp.ClientTimeout(total=self._settings.timeout_s)
            self._session = aiohttp.ClientSession(timeout=limit, trust_env=False)
        headers = {"Authorization": f"Bearer {self._token()}"} if self._token is not None else {}
        where = f"{self._settings.url}/api/v2/alerts"
        try:
            async with self._session.post(where, json=alerts, headers=headers, allow_redirects=False) as answer:
                if answer.status != 200:
                    _refused(answer.status, await answer.text())
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError) as error:
            raise NotifyUnavailable(f"Alertmanager does not answer: {type(error).__name__}") from error


def _lasts(message: Message) -> bool:
    """Whether it is something that is wrong, and not only worth knowing."""
    return message.incident is not None or message.severity in ("critical", "warning")


def _refused(status: int, said: str) -> None:
    reason = f"Alertmanager answers {status}: {text.clean(said, ANSWER_MAX)}"
    if status == 400:
        raise NotifyRefused(reason)
    raise NotifyUnavailable(reason, retry_after_s=MEND_S if status < 500 else 0.0)


def alert(message: Message, named: JsonObject, ends: datetime) -> JsonObject:
    """One alert of ``POST /api/v2/alerts``."""
    incident = message.incident
    said = [
        *text.body(message),
        *(f"{label}: {what}" for label, what in text.fields(message)),
        *text.evidence(message),
    ]
    starts = incident.opened_at if incident is not None else message.at
    return {
        "labels": named,
        "annotations": {"summary": text.headline(message), "description": "\n".join(said)},
        "startsAt": min(starts, ends).isoformat(),
        "endsAt": ends.isoformat(),
    }


def labels(message: Message) -> JsonObject:
    """What makes an alert this one: its key, and what Alertmanager's own routes want to know. None is empty."""
    if message.incident is None:
        kind = "".join(part.capitalize() for part in message.key.partition("-")[0].split("_"))
        found = {"alertname": f"Consulguard{kind}", "consulguard": message.key, "severity": message.severity}
    else:
        found = {"alertname": "ConsulguardIncident", **_of_incident(message.incident)}
    return {name: value for name, value in ((n, text.clean(v, 200)) for n, v in found.items()) if value}


def _of_incident(incident: Incident) -> dict[str, str]:
    root = incident.root
    warns = any(m.role is Role.ROOT_CAUSE and m.state is State.WARNING for m in incident.members)
    return {
        "consulguard": incident.id,
        "severity": "warning" if warns else "critical",
        "scope": root.kind,
        "service": root.name if root.kind in ("service", "instance") else "",
        "instance": root.instance,
        "node": root.name if root.kind == "node" else root.node,
        "datacenter": root.datacenter,
        "namespace": root.namespace,
        "partition": root.partition,
    }
