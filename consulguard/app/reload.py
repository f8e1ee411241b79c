"""Changed playbooks are taken over while the daemon runs; of what cannot be used the last good version stays.

Changed settings begin a new life: ``app.renewal``. Whatever is wrong with either is told in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from consulguard.app import wiring
from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.errors import ConfigError, PlaybookError
from consulguard.events import Configured
from consulguard.model import Playbook

SHOWN = 5  # errors told in one message
log = structlog.get_logger("consulguard.reload")

Print = tuple[tuple[str, int, int, int], ...]


class Look(Protocol):
    """At the configuration's own file: ``Renewal``."""

    wrong: str

    async def look(self, *, forced: bool) -> bool: ...


class Reloader:
    """Looks for changed files now and then."""

    def __init__(
        self,
        loaded: Loaded,
        given: Configured,
        tell: Callable[[Configured], Awaitable[None]],
        clock: Clock,
        renewal: Look | None = None,
    ) -> None:
        self._renewal = renewal
        self._loaded = loaded
        self._given = given
        self._tell = tell
        self._clock = clock
        self._print = fingerprint(settings.playbook_dir(loaded))
        self._wrong = ""  # with the configuration itself
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[str]] = []

    def now(self) -> None:
        """Look at once, whether anything seems to have changed or not."""
        self._asked.set()

    async def reload(self) -> str:
        """The same, and wait for it: why the files are not what is in force, empty when they are."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self.now()
        return await answer

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._loaded.config.playbooks.reload):
                    await self._asked.wait()
            waiting, self._waiting = self._waiting, []
            stale = await self._look(forced=self._asked.is_set())
            for answer in waiting:
                if not answer.done():
                    answer.set_result(stale)

    async def _look(self, *, forced: bool) -> str:
        """Why the files are not what is in force, or will be; empty when they are."""
        self._asked.clear()
        if self._renewal is not None and await self._renewal.look(forced=forced):
            return ""  # a new life reads them all
        wrong = self._renewal.wrong if self._renewal is not None else ""
        seen = await asyncio.to_thread(fingerprint, settings.playbook_dir(self._loaded))
        if (seen, wrong) == (self._print, self._wrong) and not forced:
            return self._given.stale
        self._wrong = wrong
        given = await asyncio.to_thread(self._read)
        self._print = seen
        if (given.playbooks, given.stale) == (self._given.playbooks, self._given.stale):
            return given.stale
        self._given = given
        log.info("playbooks_changed", playbooks=len(given.playbooks), stale=given.stale)
        await self._tell(given)
        return given.stale

    def _read(self) -> Configured:
        at = self._clock.now()
        try:
            found, broken = wiring.configured(self._loaded, at)
        except ConfigError as error:  # the folder itself: nothing in it is trusted
            return msgspec.structs.replace(self._given, at=at, stale=_sentences(self._wrong, str(error)))
        kept = tuple(p for p in self._given.playbooks if _still_meant(p, found.playbooks, broken))
        both = sorted((*found.playbooks, *kept), key=lambda p: p.source)
        stale = _sentences(self._wrong, *map(str, broken))
        return Configured(
            at=at, policy=self._given.policy, playbooks=tuple(both), actions=found.actions, stale=stale
        )


def _still_meant(old: Playbook, found: tuple[Playbook, ...], broken: tuple[PlaybookError, ...]) -> bool:
    """Whether the last good version of a file stays: its present one is broken, and nobody else has its name."""
    file = old.source.rpartition(":")[0]
    is_broken = any(e.where == file or e.where.startswith(f"{file}:") for e in broken)
    return is_broken and all(p.id != old.id for p in found)


def _sentences(*wrong: str) -> str:
    told = [sentence for sentence in wrong if sentence]
    more = f"\n+{len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return "\n".join(told[:SHOWN]) + more


def fingerprint(folder: Path) -> Print:
    """What tells that a file of the folder is another one, or changed; empty when the folder cannot be read."""
    seen = []
    try:
        for path in sorted(folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):  # it is being replaced: the next look sees what by
                info = path.stat()
                seen.append((path.name, info.st_ino, info.st_size, info.st_mtime_ns))
    except OSError:
        return ()
    return tuple(seen)
