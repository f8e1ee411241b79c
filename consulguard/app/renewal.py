"""A changed configuration is prepared while the old one is in force; only one that can be used ends this life.

The next life begins in the same process with the new one: nothing of an old setting is left anywhere, and what is
under way ends first, as at a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from consulguard.app import service
from consulguard.app.reload import Print, fingerprint
from consulguard.clock import Clock
from consulguard.config import Loaded, settings, units
from consulguard.errors import ConfigError

log = structlog.get_logger("consulguard.reload")


class Renewal:
    """Looks at the configuration's file. ``renew`` is called, in the loop, with one that is to be lived by."""

    def __init__(self, loaded: Loaded, renew: Callable[[Loaded], None], clock: Clock) -> None:
        self._loaded = loaded
        self._renew = renew
        self._clock = clock
        self._print = _stamp(loaded)
        self._asked = asyncio.Event()
        self.wrong = ""  # why the file cannot be used as it is

    def now(self) -> None:
        """Look at once, whether anything seems to have changed or not."""
        self._asked.set()

    async def reload(self) -> str:
        """Look at once: why the file is not what is in force, empty when it is, or will be."""
        await self.look(forced=True)
        return self.wrong

    async def run(self) -> None:
        """Look now and then, until cancelled: for who leads nothing and has no ``Reloader``.

        Whoever waits to lead needs playbooks that can be used: these are looked at as well.
        """
        seen: Print | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._loaded.config.playbooks.reload):
                    await self._asked.wait()
            forced = self._asked.is_set()
            self._asked.clear()
            await self.look(forced=forced)
            now = await asyncio.to_thread(fingerprint, settings.playbook_dir(self._loaded))
            if now != seen or self.wrong:
                seen = now
                await self._try_all()

    async def look(self, *, forced: bool) -> bool:
        """Whether this life is to end for another configuration. ``wrong`` says why it is not, if it should."""
        seen = _stamp(self._loaded)
        if seen == self._print and not forced:
            return False
        self._print = seen
        try:
            again = await asyncio.to_thread(self._prepared)
        except ConfigError as error:
            self.wrong = str(error)
            log.warning("configuration_refused", reason=self.wrong)
            return False
        self.wrong = ""
        if again is None:
            return False
        log.info("configuration_changed")
        self._renew(again)
        return True

    async def _try_all(self) -> None:
        """Whether the files as they are would be led by."""
        try:
            await asyncio.to_thread(lambda: self._usable(self._loaded.again()))
        except ConfigError as error:
            self.wrong = str(error)
        else:
            self.wrong = ""

    def _prepared(self) -> Loaded | None:
        """None: it says what is in force. Raises ConfigError for anything a start would refuse."""
        again = self._loaded.again()
        return None if again.config == self._loaded.config else self._usable(again)

    def _usable(self, loaded: Loaded) -> Loaded:
        for view in units.views(loaded):
            service.refuse_unusable(view, self._clock)
        return loaded


def _stamp(loaded: Loaded) -> tuple[int, int, int] | None:
    """What tells that the file is another one, or changed; None where there is none to be seen."""
    try:
        info = loaded.path.stat() if loaded.path is not None else None
    except OSError:
        return None
    return (info.st_ino, info.st_size, info.st_mtime_ns) if info is not None else None
