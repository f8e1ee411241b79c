"""Telling people: one file or folder per channel, fed by the journal's outbox."""

from consulguard.notify.base import Notifier, Told
from consulguard.notify.console import ConsoleNotifier
from consulguard.notify.outbox import OutboxSettings, OutboxWorker, Pace

__all__ = ["ConsoleNotifier", "Notifier", "OutboxSettings", "OutboxWorker", "Pace", "Told"]
