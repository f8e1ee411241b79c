"""What a channel promises."""

from __future__ import annotations

from typing import Protocol

from consulguard.model import JsonObject, OutboxRow, Value


class Told(Value, frozen=True, kw_only=True):
    """What one delivery achieved: for channels that need several calls, of which each counts as a message.

    ``lines``: how many of the row's thread lines were told (None: all). Not ``done``: deliver again for the rest.
    """

    ref: JsonObject
    lines: int | None = None
    done: bool = True


class Notifier(Protocol):
    """One channel to people. It never decides anything, and nothing waits for it.

    ``deliver`` makes ``row.message`` what people see under ``row.key``: a new message where ``row.ref`` is empty,
    else an edit of the one ``row.ref`` names. It returns the new reference, alone when everything was told, else
    in a ``Told``. Raises ``Temporary`` (``NotifyUnavailable`` to say when to come back) or ``Final``.
    """

    @property
    def name(self) -> str: ...

    async def deliver(self, row: OutboxRow) -> JsonObject | Told: ...

    async def close(self) -> None: ...
