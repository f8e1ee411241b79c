"""The scenario table: one thing is wrong at a time, and one guard has to say so."""

from __future__ import annotations

from tests.core.guard.rows import Row
from tests.core.guard.rows_limits import LIMITS
from tests.core.guard.rows_seeing import SEEING

ROWS: tuple[Row, ...] = SEEING + LIMITS
