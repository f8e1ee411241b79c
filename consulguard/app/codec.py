"""Events and effects as the journal keeps them: JSON, tagged, read back into the very same values."""

from __future__ import annotations

import msgspec

from consulguard.errors import StoreCorrupt
from consulguard.events import AnyEffect, AnyEvent
from consulguard.journal import BODY_VERSION

VERSION = BODY_VERSION

_events = msgspec.json.Decoder(AnyEvent)
_effects = msgspec.json.Decoder(AnyEffect)
encode = msgspec.json.encode


def event_of(body: bytes) -> AnyEvent:
    """Raises StoreCorrupt when the body is not an event this version knows."""
    try:
        event: AnyEvent = _events.decode(body)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(f"an event in the journal cannot be read: {error}") from error
    return event


def effect_of(body: bytes) -> AnyEffect:
    """Raises StoreCorrupt when the body is not an effect this version knows."""
    try:
        effect: AnyEffect = _effects.decode(body)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(f"an intent in the journal cannot be read: {error}") from error
    return effect
