"""A person's word while no daemon runs: written into the journal, obeyed by the next daemon."""

from __future__ import annotations

from typing import Any

from consulguard.app.codec import encode
from consulguard.app.desk import Desk
from consulguard.app.past import fold
from consulguard.app.service import journal
from consulguard.clock import SystemClock
from consulguard.config import Loaded, settings
from consulguard.engine import step
from consulguard.events import Commanded, Reply
from consulguard.journal import Draft


async def command(loaded: Loaded, name: str, args: dict[str, Any], who: str) -> Reply | None:
    """What the next daemon will make of it. A no is written down only where it is about who may say that.

    Raises StoreUnavailable when a daemon holds the journal after all.
    """
    store = journal(loaded, ())
    await store.open()
    try:
        state = (await fold(store)).state

        async def take(name: str, args: dict[str, Any], who: str) -> Reply:
            now = SystemClock().now()
            at = max(now, state.at or now)  # who wrote last may have had a clock ahead of ours
            event = Commanded(at=at, command=name, who=who, args=args)
            _, effects = step(state, event)
            reply = next(e for e in effects if isinstance(e, Reply))
            if reply.ok or name == "refused":
                await store.append([Draft(at=event.at, kind="event", body=encode(event), epoch=state.epoch)])
            return reply

        return await Desk(take, settings.access(loaded)).say_locally(name, args, who)
    finally:
        await store.close()
