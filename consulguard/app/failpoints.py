"""Named points at which a test may kill or stall the process: ``CONSULGUARD_FAILPOINT=name:kill[:nth]``.

``kill`` is SIGKILL, ``stop`` is SIGSTOP, ``block20`` sleeps for 20 s and blocks the thread it is in. ``nth`` says
at which passing; ``*``: at each.

They exist to prove what happens when we die at the worst moment; without the variable they do nothing.

The points, in the order they are passed: ``app.after_journal`` (each commit), ``app.after_intent`` (a commit that
holds an intent), ``act.before_send``, ``act.after_send``, ``app.before_result``. Beside
them ``chat.acknowledged`` (a click was acknowledged, and nothing else) and ``chat.decided`` (it is in the journal,
and was not answered).
"""

from __future__ import annotations

import os
import signal
import time


class Failpoints:
    """``spec`` is ``name:action`` or ``name:action:nth``; actions: ``kill``, ``stop``, ``block<seconds>``."""

    def __init__(self, spec: str = "") -> None:
        name, _, rest = spec.partition(":")
        action, _, nth = rest.partition(":")
        self._name = name
        self._signal = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}.get(action)
        seconds = action.removeprefix("block")
        self._block_s = int(seconds) if seconds != action and seconds.isascii() and seconds.isdigit() else 0
        self._each = nth == "*"
        self._left = int(nth) if nth.isascii() and nth.isdigit() else 1

    def __call__(self, name: str) -> None:
        """Die or stall here when the spec says so."""
        if name != self._name:
            return
        self._left -= 1
        if self._left != 0 and not self._each:
            return
        if self._signal is not None:
            os.kill(os.getpid(), self._signal)
        else:
            time.sleep(self._block_s)
