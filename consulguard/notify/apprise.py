"""Everything the library apprise can tell: e-mail, PagerDuty, Opsgenie, Teams, Discord, a webhook and so on.

Nothing can be edited there, so not every version is told: the first, one of another severity, and thread lines
(steps, verification, reminders). The stored reference holds the ``severity`` last told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from consulguard.errors import NotifyUnavailable
from consulguard.model import JsonObject, Message, OutboxRow, Value
from consulguard.notify import text

MEND_S = 60.0  # after something a person has to mend
_TYPES = {"critical": "failure", "warning": "warning", "resolved": "success"}


class AppriseSettings(Value, frozen=True, kw_only=True):
    name: str
    timeout_s: float = 20.0  # of one delivery; below the worker's own


class AppriseNotifier:
    """``url`` gives apprise's URL, asked before each delivery; it holds a secret and is never shown.

    The library blocks: it works in one thread of its own, and while that hangs this receiver waits, no other.
    """

    def __init__(self, settings: AppriseSettings, url: Callable[[], str]) -> None:
        self.name = settings.name
        self._settings = settings
        self._url = url
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="apprise")
        self._busy: asyncio.Future[bool] | None = None
        logging.getLogger("apprise").addHandler(logging.NullHandler())  # it would write addresses to stderr

    async def deliver(self, row: OutboxRow) -> JsonObject:
        message = row.message
        if row.ref.get("severity") == message.severity and not message.thread:
            return row.ref
        if not await self._told(row):
            raise NotifyUnavailable("apprise could not tell it", retry_after_s=MEND_S)
        return {"severity": message.severity}

    async def close(self) -> None:
        """What hangs in the thread ends with its own time-out."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _told(self, row: OutboxRow) -> bool:
        if self._busy is not None and not self._busy.done():
            raise NotifyUnavailable("the delivery before still hangs", retry_after_s=MEND_S)
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, _notify, self._url(), row.message, row.skipped
        )
        self._busy = work
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await asyncio.shield(work)
        except TimeoutError:
            work.add_done_callback(_forget)
            raise NotifyUnavailable(f"no answer within {self._settings.timeout_s:g} s") from None


def _forget(work: asyncio.Future[bool]) -> None:
    if not work.cancelled():
        work.exception()


def _notify(url: str, message: Message, skipped: int) -> bool:
    """In the thread. Whether it was taken; an address apprise does not understand is not."""
    import apprise  # heavy, and only for those who use it

    sender = apprise.Apprise()
    if not sender.add(url):
        return False
    kind = apprise.NotifyType(_TYPES.get(message.severity, "info"))
    return bool(sender.notify(title=text.headline(message), body=body(message, skipped), notify_type=kind))


def understood(url: str) -> bool:
    """Whether apprise knows what to do with this URL. Blocks for a moment: it is imported here."""
    import apprise

    return bool(apprise.Apprise().add(url))


def body(message: Message, skipped: int = 0) -> str:
    """Plain text, one line for each thing."""
    where = " · ".join(f"{label} {value}" for label, value in text.context(message))
    said = [*text.body(message), *(f"{label}: {value}" for label, value in text.fields(message))]
    why = [f"Why: {line}" for line in text.evidence(message)]
    lines = [f"- {line}" for line in text.thread(message.thread, skipped)]
    return "\n".join([where, *said, *why, *lines])
