"""Calendar jobs, the kind a person would put in a crontab: digest, reminders, compaction, audit report.

Never leases, cooldowns or deadlines: those are the engine's. A run missed while the process was busy is made up
for once (``coalesce``), however late (``misfire_grace_time=None``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from consulguard.app.daemon import Daemon
from consulguard.config import Loaded
from consulguard.engine.remind import to_remind
from consulguard.errors import StoreUnavailable

COMPACT_EVERY_S = 3600.0
AUDIT_EVERY_S = 86_400.0
LOOKS = 10  # a reminder comes at most a tenth of its time late
REMIND_LOOK_S = 60.0  # and at most so late
log = structlog.get_logger("consulguard.calendar")


@contextlib.contextmanager
def running(daemon: Daemon, loaded: Loaded) -> Iterator[AsyncIOScheduler]:
    """The scheduler, stopped when the block is left."""
    scheduler = AsyncIOScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    )
    retention = loaded.config.journal.retention

    async def compact() -> None:
        await _compact(daemon, retention)

    async def digest() -> None:
        await daemon.command("digest", {}, "calendar")

    remind_s = loaded.config.notify.remind

    async def remind() -> None:
        if to_remind(daemon.state, remind_s, daemon.rooms.clock.now()):  # else there is nothing to journal
            await daemon.command("remind", {"after_s": remind_s}, "calendar")

    async def audit() -> None:
        await _audit(daemon)

    scheduler.add_job(digest, "interval", seconds=loaded.config.notify.digest, id="digest")
    if remind_s:
        seconds = min(REMIND_LOOK_S, max(1.0, remind_s / LOOKS))
        scheduler.add_job(remind, "interval", seconds=seconds, id="remind")
    scheduler.add_job(compact, "interval", seconds=COMPACT_EVERY_S, id="compaction")
    scheduler.add_job(audit, "interval", seconds=AUDIT_EVERY_S, id="audit")
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


async def _compact(daemon: Daemon, retention_s: float) -> None:
    try:
        gone = await daemon.compact(retention_s)
    except StoreUnavailable as error:
        log.warning("compaction_failed", reason=str(error))
        return
    log.info("compacted", entries=gone)


async def _audit(daemon: Daemon) -> None:
    report = await daemon.rooms.store.verify()
    log.info("journal_audit", ok=report.ok, entries=report.entries, reason=report.reason)
    if not report.ok:
        await daemon.command("stop", {"reason": f"journal audit: {report.reason}"}, "calendar")
