"""A person's word while no daemon runs: written into the journal, obeyed by the next daemon."""

from __future__ import annotations

from typing import Any

from consulguard.access import refusal
from consulguard.app.codec import encode
from consulguard.app.desk import local, refused
from consulguard.app.past import fold
from consulguard.app.service import journal
from consulguard.clock import SystemClock
from consulguard.config import Loaded, settings
from consulguard.errors import ConsulguardError
from consulguard.events import Commanded
from consulguard.journal import Draft


class NotAllowed(ConsulguardError):
    """This person may not say that."""

    exit_code = 6


async def command(loaded: Loaded, name: str, args: dict[str, Any], who: str) -> None:
    """Raises StoreUnavailable when a daemon holds the journal after all, NotAllowed when they may not."""
    why = refusal(settings.access(loaded), local(who), name)
    if why:
        name, args = "refused", refused(local(who), name, args, why)
    store = journal(loaded, ())
    await store.open()
    try:
        state = (await fold(store)).state
        event = Commanded(at=SystemClock().now(), command=name, who=who, args=args)
        await store.append([Draft(at=event.at, kind="event", body=encode(event), epoch=state.epoch)])
    finally:
        await store.close()
    if why:
        raise NotAllowed(why)
