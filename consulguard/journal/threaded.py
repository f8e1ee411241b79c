"""A store whose session lives on a thread of its own: the loop goes on while a commit waits for its disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from consulguard.errors import StoreCorrupt, StoreSilent, StoreUnavailable
from consulguard.journal import chain, crowd, outbox, rows
from consulguard.journal.base import BaseSession
from consulguard.journal.store import Draft, JournalSettings, Report
from consulguard.journal.tables import Tables
from consulguard.model import Entry, JsonObject, Message, OutboxRow, StillOpen

T = TypeVar("T")

_AT_ONCE = 5000  # entries removed per commit: the journal stays free for appends in between


class ThreadedStore:
    """A ``Store`` over one session."""

    def __init__(self, session: BaseSession, settings: JournalSettings) -> None:
        self._session = session
        self._settings = settings
        self._thread: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ---- life

    @property
    def path(self) -> Path:
        return self._session.path

    @property
    def behind(self) -> str:
        """Why the journal has lost entries it once acknowledged; empty when it has not. Set by ``open``."""
        return self._session.behind

    async def open(self) -> None:
        """Raises ``StoreUnavailable`` (in use, disk, no answer), ``StoreCorrupt`` (the chain does not hold) or
        ``ConfigError`` (written by a newer version).
        """
        if self._thread is not None:
            raise StoreUnavailable(f"the journal {self._session.name} is already open")
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._thread, self._session.off = thread, False
        with contextlib.ExitStack() as undo:
            undo.callback(self.abandon)
            await self._on_thread(self._session.open)
            undo.pop_all()

    async def close(self) -> None:
        """Write the mark, give the journal back. Safe to call twice, and after a failure."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await self._answered(thread, self._session.close)
        except StoreSilent:
            thread.submit(self._session.abandon)
            raise
        finally:
            thread.shutdown(wait=False)

    def abandon(self) -> None:
        """Let go at once. What is under way on the thread comes to nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._session.break_off()
            thread.submit(self._session.abandon)
            thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- entries

    async def append(self, drafts: Sequence[Draft], outbox: Sequence[Message] = ()) -> int:
        """One commit: all entries and all outbox rows.

        Any failure is ``StoreUnavailable``: except where the disk is short of space, which is looked at first,
        the outcome is unknown. Raises ``StaleEpoch`` when a newer leader has written, and ``ValueError`` for a
        draft that cannot be written, both with nothing written.
        """
        try:
            seq = await self._on_thread(lambda: self._session.append(drafts, outbox))
        except StoreCorrupt as error:
            raise StoreUnavailable(str(error)) from error
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._settings.mark_every_s, self._mark)
        return seq

    async def entries(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Entry]:
        """Raises ``StoreCorrupt`` at the first entry that does not fit the chain. Starts at the base when
        ``after`` was compacted away.
        """
        left = limit
        while left is None or left > 0:
            size = self._settings.chunk if left is None else min(left, self._settings.chunk)
            found = await self._do("read", partial(rows.read, after=after, limit=size))
            for entry in found:
                yield entry
            if len(found) < size:
                return
            after = found[-1].seq
            left = None if left is None else left - len(found)

    async def last(self) -> tuple[int, str]:
        return await self._do("read", rows.last)

    # ---- snapshots

    async def save_snapshot(self, seq: int, body: bytes) -> None:
        """Keep the state after entry ``seq``; the newest two are kept. Raises ``ValueError`` if there is no such
        entry.
        """
        await self._do("save a snapshot", lambda con: rows.save_snapshot(con, seq, body), write=True)
        await self._on_thread(self._session.write_mark)

    async def load_snapshot(self) -> tuple[int, bytes] | None:
        """The newest snapshot that fits the chain. Raises ``StoreCorrupt`` when one is needed and none is."""
        return await self._do("read", rows.newest_snapshot)

    async def compact(self, keep_after_seq: int) -> int:
        """Forget entries up to ``keep_after_seq``, but none that the older of the two snapshots needs."""
        upto = await self._do("compact", lambda con: rows.compactable(con, keep_after_seq))
        gone = 0
        while True:
            step = await self._do("compact", lambda con: rows.forget(con, upto, _AT_ONCE), write=True)
            gone += step
            if step == 0:
                break
        while await self._do("compact", self._session.shrink):
            pass
        return gone

    # ---- outbox

    async def outbox_due(self, channel: str, limit: int) -> list[OutboxRow]:
        return await self._do("read the outbox", lambda con: outbox.due(con, channel, limit), write=True)

    async def outbox_sent(
        self, row: OutboxRow, ref: JsonObject, *, lines: int | None = None, done: bool = True
    ) -> None:
        await self._do("note what was sent", lambda con: outbox.sent(con, row, ref, lines, done), write=True)

    async def outbox_failed(
        self, row: OutboxRow, reason: str, retry_at: datetime | None, ref: JsonObject | None = None
    ) -> None:
        await self._do("note what failed", lambda con: outbox.failed(con, row, reason, retry_at, ref), write=True)

    async def outbox_open(self, channel: str, board: str, most: int) -> StillOpen:
        return await self._do(
            "read the outbox", lambda con: crowd.still_open(con, channel, board, most), write=True
        )

    async def outbox_crowd(self, channel: str, keep: int, now: datetime) -> list[OutboxRow]:
        return await self._do("read the outbox", lambda con: crowd.crowd(con, channel, keep, now), write=True)

    async def outbox_add(
        self,
        channel: str,
        message: Message,
        *,
        folded: Sequence[OutboxRow] = (),
        not_before: datetime | None = None,
    ) -> None:
        def add(con: Tables) -> None:
            crowd.add(con, channel, message, folded, not_before, self._settings)

        await self._do("write the outbox", add, write=True)

    async def outbox_counts(self) -> dict[str, int]:
        return await self._do("read the outbox", outbox.counts)

    # ---- trust

    async def verify(self) -> Report:
        """Check the database's own structures, every entry from the base on, every snapshot, and the mark."""
        entries, after = 0, 0
        try:
            found = await self._do("verify", self._session.integrity)
            if found:
                return Report(ok=False, entries=0, reason=f"the database finds the journal damaged: {found}")
            while True:
                chunk = await self._do("verify", partial(rows.read, after=after, limit=self._settings.chunk))
                if not chunk:
                    break
                entries, after = entries + len(chunk), chunk[-1].seq
            reason = await self._do("verify", rows.unsound)
            mark = await self._on_thread(self._session.read_mark)
            reason = reason or await self._do("verify", lambda con: rows.behind(con, mark))
        except chain.BrokenChain as error:
            return Report(ok=False, entries=entries, first_bad_seq=error.seq, reason=str(error))
        except (StoreCorrupt, ValueError) as error:
            return Report(ok=False, entries=entries, reason=str(error))
        return Report(ok=not reason, entries=entries, reason=reason, mark=mark)

    async def accept(self, seq: int) -> None:
        """Move the mark to the journal's end, which must be ``seq``: a person says the rest is lost.

        Raises ``ValueError`` when the journal ends elsewhere.
        """
        last = await self.last()
        if last[0] != seq:
            raise ValueError(f"the journal ends at entry {last[0]}, not {seq}")
        await self._on_thread(self._session.accept)

    # ---- the thread

    async def _do(self, doing: str, work: Callable[[Tables], T], *, write: bool = False) -> T:
        return await self._on_thread(lambda: self._session.run(work, doing, write=write))

    async def _on_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise StoreUnavailable(f"the journal {self._session.name} is not open")
        return await self._answered(self._thread, work)

    async def _answered(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """A database that says nothing, not even no, is broken off: nobody is to wait for it for ever."""
        try:
            async with asyncio.timeout(self._session.answer_s) as waiting:
                return await asyncio.get_running_loop().run_in_executor(thread, work)
        except TimeoutError:
            if not waiting.expired():
                raise
            self._session.break_off()
            said = f"the journal {self._session.name} has not answered for {self._session.answer_s:g} s"
            raise StoreSilent(said) from None

    def _mark(self) -> None:
        self._timer = None
        if self._thread is not None:
            self._thread.submit(self._session.mark_or_break)
