"""One look at the mesh, or at a saved one, through the engine: what the reading verbs share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from consulguard import config
from consulguard.app import assess, configured, fold, turns
from consulguard.app.past import JOURNAL
from consulguard.cli import snapshots
from consulguard.cli.doors import stripped
from consulguard.cli.options import Options
from consulguard.clock import SystemClock
from consulguard.config import settings
from consulguard.config.files import exists
from consulguard.engine import EngineState
from consulguard.errors import ConsulUnavailable, PlaybookError, StoreCorrupt, StoreUnavailable
from consulguard.events import AnyEvent
from consulguard.model import Pause
from consulguard.watch import read_once

log = structlog.get_logger("consulguard.cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The assessed state, what it came from, and the playbooks that took no part in it."""

    state: EngineState
    seen: snapshots.Seen
    disabled: tuple[PlaybookError, ...]


def look(
    options: Options, loaded: config.Loaded, snapshot: Path | None = None, *, focus: Sequence[str] = ()
) -> Reading:
    """Read, assess, and tell on stderr which playbooks are disabled. ``focus``: services to be read in detail.

    Raises ConfigError, ConsulUnavailable, ConsulRefused, BadAnswer.
    """
    seen = snapshots.load(snapshot) if snapshot is not None else asyncio.run(_see(options, loaded, focus))
    given, disabled = configured(loaded, seen.events[0].at)
    if not options.quiet:
        for error in disabled:
            print(f"consulguard: playbook disabled: {stripped(error)}", file=sys.stderr)
    return Reading(state=assess(given, seen.events, seen.past), seen=seen, disabled=disabled)


async def _see(options: Options, loaded: config.Loaded, focus: Sequence[str]) -> snapshots.Seen:
    events = await _events(options, loaded, focus)
    return snapshots.Seen(events=events, past=await past(loaded, blind=events[0].at) or EngineState())


async def _events(options: Options, loaded: config.Loaded, focus: Sequence[str]) -> list[AnyEvent]:
    client = settings.client(loaded, consistency="stale" if options.stale else "default")
    try:
        async with asyncio.timeout(options.timeout_s):
            return await read_once(client, SystemClock(), settings.watch_settings(loaded), focus=focus)
    except TimeoutError:
        raise ConsulUnavailable(
            f"Consul was not read within {options.timeout_s:g} s; give more with --timeout"
        ) from None
    finally:
        await client.close()


async def past(loaded: config.Loaded, *, blind: datetime | None = None) -> EngineState | None:
    """What the journal holds; None where there is none, or it cannot be read now.

    ``blind``: where it cannot be read, a state that is stopped as of then instead of None: nobody knows whether
    somebody has paused us, and that is as good as paused.
    """
    path = settings.journal_path(loaded)
    if loaded.config.journal.store == "sqlite" and not exists(path):
        return None
    store = turns.store(loaded, readonly=True)
    try:
        await store.open()
        state = (await fold(store)).state
    except (StoreUnavailable, StoreCorrupt) as error:
        log.warning("journal_not_read", reason=str(error), unknown="pauses, attempts and the storm brake")
        if blind is None:
            return None
        why = f"the journal cannot be read, so nobody knows whether it is paused: {error}"
        return EngineState(pauses=[Pause(who=JOURNAL, why=why, since=blind, depth="stop")])
    finally:
        await store.close()
    return state
