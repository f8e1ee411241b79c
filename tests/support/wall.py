"""A wall clock of one's own: libfaketime in a process, told by a file."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

PLACES = "/usr/lib/*/faketime/libfaketime.so.1"
HOUR, DAY = 3600, 86_400


class Wall:
    """The wall clock of the processes that are given ``env``, moved by so many seconds; other clocks run on."""

    def __init__(self, folder: Path) -> None:
        library = next(iter(glob.glob(PLACES)), "")
        if not library:
            sentence = "no libfaketime: run scripts/install-test-tools.sh"
            if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
                pytest.fail(sentence)
            pytest.skip(sentence)
        self._file = folder / "wall"
        self.env = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        aside = self._file.with_suffix(".new")
        aside.write_text(f"{seconds:+d}\n")
        aside.rename(self._file)
