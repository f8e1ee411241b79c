"""When the journal cannot be written: people are told without it, and with a full disk we wait for room.

Nothing is watched, decided or done meanwhile. What follows is a new life that replays and acts for nobody until a
person resumes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.errors import ConsulguardError, Final, NotifyUnavailable, StoreFull, StoreUnavailable, Temporary
from consulguard.model import JsonObject, Message, OutboxRow
from consulguard.notify import Notifier
from consulguard.notify.base import Told
from consulguard.notify.outbox import PLUGIN_ERRORS
from consulguard.serve import Health

KEY = "journal"  # of the alarm: one message a channel, edited when it is over
TRIES, TRY_S, WAIT_S = 3, 10.0, 10.0  # of an alarm; with the last at most between two tries
LOOK_S = 2.0  # between two looks at the disk
SPARE = 256 << 10  # bytes above ``journal.min_free`` that must be free before the journal is opened again
log = structlog.get_logger("consulguard.app")


class Alarm:
    """Tells every channel directly, past the outbox, which lies in the journal."""

    def __init__(self, channels: Callable[[], Sequence[Notifier]], clock: Clock) -> None:
        self._channels = channels
        self._clock = clock
        self._refs: dict[str, JsonObject] = {}
        self._rev = 0

    async def sound(self, error: StoreUnavailable) -> None:
        """Returns when each channel was told, or would not be."""
        log.error("journal_lost", reason=str(error))
        coming = (
            "When there is room the journal is replayed and the mesh is watched again; remediation stays stopped"
            " until somebody resumes."
            if isinstance(error, StoreFull)
            else "consulguard ends now; its next start replays the journal."
        )
        title = "the journal cannot be written: watching and remediation have stopped"
        await self._tell("critical", title, f"{error}. {coming}")

    async def over(self) -> None:
        """The same message says that the journal is written again. Nothing when no alarm was sounded."""
        if self._rev:
            title = "the journal is written again: watching goes on, remediation is stopped"
            await self._tell("resolved", title, "Look at what was open, then: consulguard resume")

    async def _tell(self, severity: str, title: str, text: str) -> None:
        self._rev += 1
        message = Message(
            key=KEY, version=self._rev, severity=severity, title=title, at=self._clock.now(), text=text
        )
        channels = self._channels()
        try:
            await asyncio.gather(*(self._deliver(channel, message) for channel in channels))
        finally:
            for channel in channels:
                await channel.close()

    async def _deliver(self, channel: Notifier, message: Message) -> None:
        for _ in range(TRIES):
            ref = self._refs.get(channel.name, {})
            row = OutboxRow(channel=channel.name, key=KEY, rev=self._rev, message=message, ref=ref)
            pause = 1.0
            try:
                async with asyncio.timeout(TRY_S):
                    told = await channel.deliver(row)
            except Final as error:
                log.error("alarm_refused", channel=channel.name, reason=str(error))
                return
            except (Temporary, TimeoutError, *PLUGIN_ERRORS) as error:
                if isinstance(error, NotifyUnavailable):
                    pause = min(WAIT_S, error.retry_after_s or pause)
                log.error("alarm_failed", channel=channel.name, reason=str(error) or "no answer")
            else:
                self._refs[channel.name] = told.ref if isinstance(told, Told) else told
                return
            await asyncio.sleep(pause)


async def room(loaded: Loaded, stop: asyncio.Event) -> None:
    """Return when the journal's disk has room again, with a little over so that it does not fill up at once."""
    wanted = loaded.config.journal.min_free + SPARE
    while not stop.is_set() and _free(loaded) < wanted:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await stop.wait()


def _free(loaded: Loaded) -> int:
    try:
        disk = os.statvfs(settings.journal_path(loaded).parent)
    except OSError:
        return 0
    return disk.f_bavail * disk.f_frsize


def refusing(reason: str) -> Callable[[str, dict[str, Any], str], Any]:
    """Answers every command: it could not be written down now."""

    async def refuse(command: str, args: dict[str, Any], who: str) -> dict[str, Any]:
        raise ConsulguardError(reason)

    return refuse


def health(turned_at: float) -> Health:
    """Alive, so that nobody ends us for it, and not ready. ``turned_at``: the last turn, in seconds since 1970."""
    return Health(
        alive=True,
        turned_at=turned_at,
        ready=False,
        leader=False,
        view_trusted=False,
        incidents={},
        runs=0,
        storm=False,
        paused=True,
    )
