"""``make model``: the machine for about ``STEPS`` steps, in as many processes as ``JOBS``; prints what it did.

A step is one thing that happens (time passes, something fails, an answer comes, a process dies, a person speaks),
after which everybody who runs does all there is to do and the journal is read. A rule is one or more of them.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.model.machine import Model
from tests.model.support import machine, run

STORIES, RULES = 10, 20  # before the next seed, and before it is seen whether it is enough


def work(seed: int, steps: int, minutes: float) -> tuple[Counter[str], str]:
    """Stories from this seed on until the steps are done or the time is over; what was counted, and what broke."""
    model: type[Model] = machine()
    end = time.monotonic() + minutes * 60
    try:
        while model.counted["steps"] < steps and time.monotonic() < end:
            run(model, stories=STORIES, steps=RULES, seed=seed)
            seed += 1
            model.counted["seeds"] += 1
    except AssertionError as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        return model.counted, f"seed {seed}: {error}\n{notes}"
    return model.counted, ""


def main() -> int:
    steps, jobs = int(os.environ.get("STEPS", "1000000")), int(os.environ.get("JOBS", "2"))
    minutes, first = float(os.environ.get("MINUTES", "1000000")), int(os.environ.get("SEED", "1"))
    begun = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        given = [(first + 1_000_000 * n, steps // jobs, minutes) for n in range(jobs)]
        done = [each.result() for each in [pool.submit(work, *one) for one in given]]
    counted = sum((c for c, _ in done), Counter())
    wrong = [text for _, text in done if text]
    seconds = time.monotonic() - begun
    totals = {name: counted.pop(name, 0) for name in ("steps", "events", "intents", "effects", "lives", "seeds")}
    rules = sum(counted.values())
    print(f"{seconds:.0f} s, {rules} rules, " + ", ".join(f"{n} {name}" for name, n in totals.items()))
    for name, n in counted.most_common():
        print(f"{n:8} {name}")
    print("\n".join(wrong) or "no invariant was broken")
    return 1 if wrong else 0
