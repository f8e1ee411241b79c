"""The daemon in this process on a real cluster, ready to act on anything, and what its journal tells then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from consulguard.app.codec import event_of
from consulguard.app.service import Service, standing
from consulguard.config.load import load
from consulguard.engine import EngineState, step
from consulguard.events import ViewChanged
from consulguard.model import Incident, State, View

from tests.support.cluster import Cluster

WATCH_ONLY = 'node_prefix "" {policy="read"} service_prefix "" {policy="read"} agent_prefix "" {policy="read"}'
PLAYBOOK = """
name: touch-{scope}
description: Would act at once on any {scope} of the shop or the cluster.
mode: auto
match:
  role: root_cause
  scope: {scope}
  states: [critical, vanished, flapping]
  for: 1s
  unless: [maintenance, untrusted_view]
  matchers: ['{label}']
guards: {{min_healthy: 1%, allow_last_instance: false}}
steps:
  - name: touch
    uses: consul.kv_put
    with: {{key: "acted/{scope}", value: "${{incident.id}}"}}
verify:
  within: 10s
  target: {{passing_for: 1}}
"""
SCOPES = {"service": 'service=~"shop-.*"', "instance": 'service=~"shop-.*"', "node": 'node=~"[sc][0-9]"'}


class Bot:
    """A running daemon, looked at from inside."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @property
    def state(self) -> EngineState:
        return self.service.daemon.state

    @property
    def view(self) -> View:
        return self.state.view

    def health(self, service: str) -> State:
        """The worst of what is held of a service's instances."""
        states = [t.state for t in self.state.troubles().values() if t.target.service == service]
        return max(states, default=State.PASSING, key=list(State).index)

    async def until(self, what: str, holds: Callable[[], Any], within_s: float) -> None:
        end = asyncio.get_running_loop().time() + within_s
        while not holds():
            late = asyncio.get_running_loop().time() > end
            assert not late, f"{what}: not within {within_s:g} s; view {self.view}; {self.failing()}"
            await asyncio.sleep(0.05)

    async def settled(self, within_s: float) -> None:
        """Trusted and settled."""
        await self.until("settled", lambda: self.view.trusted and self.view.settled, within_s)

    def says(self, words: str) -> bool:
        """Whether one of the view's reasons has these words."""
        return any(words in reason for reason in self.view.reasons)

    async def doubts(self, words: str, within_s: float) -> None:
        """Not trusted, for a reason that has these words."""
        await self.until(
            f"a doubt about {words!r}",
            lambda: not self.view.trusted and self.says(words),
            within_s,
        )

    def failing(self) -> dict[str, str]:
        return {key: t.state.value for key, t in self.state.troubles().items()}

    async def story(self) -> Story:
        """Everything the journal holds, stepped through once more."""
        story, state = Story(), EngineState()
        async for entry in self.service.store.entries():
            if entry.kind == "intent":
                story.intents.append(json.loads(entry.body))
                continue
            if entry.kind != "event":
                continue
            event = event_of(entry.body)
            if isinstance(event, ViewChanged):
                story.views.append(event.view)
            state, _ = step(state, event)
            story.incidents |= state.book.incidents
        return story


class Story(msgspec.Struct):
    """What has happened since the journal began."""

    incidents: dict[str, Incident] = {}  # every one there ever was, as it was last
    intents: list[dict[str, Any]] = []
    views: list[View] = []

    def blamed(self) -> set[str]:
        """The names of all roots there ever were."""
        return {incident.root.name for incident in self.incidents.values()}


async def watch_token(cluster: Cluster) -> str:
    """A new watch-only token, known everywhere."""
    return await cluster.make_token(WATCH_ONLY)


@asynccontextmanager
async def running(cluster: Cluster, folder: Path, *, token_file: Path, **more: Any) -> AsyncIterator[Bot]:
    """The bot with c1 as its agent and c2 to fall back to; it has just started."""
    books = folder / "playbooks"
    books.mkdir(exist_ok=True)
    for scope, label in SCOPES.items():
        (books / f"{scope}.yaml").write_text(PLAYBOOK.format(scope=scope, label=label))
    config = {
        "mode": "auto",
        "consul": {"http_addr": [cluster.address("c1"), cluster.address("c2")], "token_file": str(token_file)},
        "watch": {"settle": "1s", "audit_interval": "5s"},
        "health": {"recovery": "2s"},
        "correlate": {"resolve": "2s"},
        "guards": {
            "hold_down": "1s",
            "root_settle": "1s",
            "min_looks": 1,
            "min_healthy": "1%",
            "max_share": "100%",
            "storm_share": "100%",
            "storm_min": 1000,
        },
        "notify": {"console": False},
        "journal": {"path": str(folder / "journal.sqlite")},
        "playbooks": {"dir": str(books)},
        **more,
    }
    path = folder / "consulguard.yaml"
    path.write_text(json.dumps(config))
    async with standing(load(str(path), env={})) as service:
        yield Bot(service)
