"""Append-only record of every event and intent, with snapshots and the outbox. One file per store."""

from consulguard.journal.sqlite import SqliteStore
from consulguard.journal.store import BODY_VERSION, Draft, JournalSettings, Mark, Report, Store

__all__ = ["BODY_VERSION", "Draft", "JournalSettings", "Mark", "Report", "SqliteStore", "Store"]
