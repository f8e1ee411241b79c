"""From a configuration to a house that stands: the rooms, their settings, and what runs beside the daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from consulguard import registry
from consulguard.act import ActContext, Action
from consulguard.act.prometheus_query import PrometheusQuery
from consulguard.app.calls import CallSettings, CallWatch
from consulguard.app.knocker import Knocker, KnockSettings
from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.consulapi import ConsulClient
from consulguard.engine import EngineState, step
from consulguard.engine.step import DESCRIBE_S
from consulguard.errors import ConfigError, PlaybookError
from consulguard.events import AnyEvent, Commanded, Configured, LeaseChanged, Reply, Woke
from consulguard.model import Playbook
from consulguard.plan import lint

FATAL = ("unknown-action", "bad-params")  # findings that make a playbook unusable; the others are for `lint`


def actions() -> dict[str, Action[Any]]:
    """Every registered action, made once. Raises ConfigError."""
    return {name: kind() for name, kind in registry.load_all(registry.ACTIONS).items()}


def configured(loaded: Loaded, at: datetime) -> tuple[Configured, tuple[PlaybookError, ...]]:
    """Policy, playbooks and actions in force, and the playbooks that cannot be used. Raises ConfigError."""
    known = tuple(a.info() for a in actions().values())
    playbooks, broken = settings.playbooks(loaded)
    params = {name: action.Params for name, action in actions().items()}
    findings = [f for f in lint(playbooks, known, params) if f.rule in FATAL]
    blind = [] if loaded.config.actions.prometheus.address else [p for p in playbooks if _asks_prometheus(p)]
    refused = {f.playbook for f in findings} | {p.id for p in blind}
    broken += tuple(PlaybookError(f.text, where=f.where) for f in findings)
    broken += tuple(
        PlaybookError("it asks Prometheus, and actions.prometheus.address is not set", where=p.source)
        for p in blind
    )
    usable = tuple(p for p in playbooks if p.id not in refused)
    return Configured(at=at, policy=settings.policy(loaded), playbooks=usable, actions=known), broken


def _asks_prometheus(playbook: Playbook) -> bool:
    uses = {step.uses for step in playbook.steps} | {step.undo.uses for step in playbook.steps if step.undo}
    return PrometheusQuery.name in uses or bool(playbook.verify and playbook.verify.prometheus)


def context(loaded: Loaded, client: ConsulClient, clock: Clock, fence: Any, failpoint: Any) -> ActContext:
    """What actions work with."""
    return ActContext(
        consul=client, clock=clock, settings=settings.act_settings(loaded), fence=fence, failpoint=failpoint
    )


def calls(loaded: Loaded, clock: Clock) -> Callable[[Callable[[AnyEvent], Any]], CallWatch] | None:
    """Who asks how calls fare; None where there is nobody to ask, or it is not wanted."""
    given, prometheus = loaded.config.correlate, settings.act_settings(loaded).prometheus
    if prometheus is None or not given.infer or not given.calls.query:
        return None
    wanted = CallSettings(
        query=given.calls.query,
        caller=given.calls.caller,
        callee=given.calls.callee,
        failing=given.calls.failing,
        every_s=given.calls.every,
    )
    return lambda emit: CallWatch(prometheus, wanted, clock, emit)


def knocker(
    loaded: Loaded, client: ConsulClient, clock: Clock
) -> Callable[[Callable[[AnyEvent], Any]], Knocker] | None:
    """Who probes suspects; None where nobody may be probed. Raises ConfigError."""
    doors, limits = settings.knocking(loaded)
    if not doors or not loaded.config.correlate.infer:
        return None
    wanted = KnockSettings(doors=doors, limits=limits, most=loaded.config.correlate.probe.most)
    return lambda emit: Knocker(client, wanted, clock, emit)


def assess(given: Configured, events: Iterable[AnyEvent], past: EngineState | None = None) -> EngineState:
    """One look at the mesh through the very engine the daemon runs; its effects are dropped, so nothing happens.

    Of a running daemon's past, what guards need is taken over: pauses, silences, attempts, how playbooks fared,
    the brake.
    """
    state = EngineState()
    if past is not None:
        state.pauses, state.attempts, state.storm = list(past.pauses), list(past.attempts), past.storm
        state.silences = dict(past.silences)
        state.records = {name: list(ends) for name, ends in past.records.items()}
    state, _ = step(state, given)
    state, _ = step(state, LeaseChanged(at=given.at, held=True, epoch=1, reason="dry run"))
    for event in events:
        state, _ = step(state, event)
    if state.dirty and state.at is not None:  # something nobody describes: no fact will come any more
        state, _ = step(state, Woke(at=state.at + timedelta(seconds=DESCRIBE_S)))
    return state


def ordered(state: EngineState, playbook: str, service: str) -> tuple[EngineState, Reply]:
    """``playbook run`` on an assessed state: what the daemon would answer. The effects are dropped."""
    assert state.at is not None
    args = {"playbook": playbook, "service": service, "dry_run": True}
    said = Commanded(at=state.at, command="run", who="dry run", args=args, key="dry run")
    state, effects = step(state, said)
    return state, next(e for e in effects if isinstance(e, Reply))


def refuse_broken(broken: tuple[PlaybookError, ...]) -> None:
    """Raise the first of several errors, with the number of the others."""
    if broken:
        more = f" (+{len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ConfigError(f"{broken[0].message}{more}", where=broken[0].where)
