"""Does too much fail at once? ``storm.py`` says when."""

from __future__ import annotations

from datetime import timedelta

from consulguard.guard.answer import Answer, allow, seconds, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    storm, cooldown = s.storm, s.policy.guard.storm_cooldown_s
    if not storm.on:
        return allow("the storm brake is off")
    if not starting(s):
        return allow("the storm brake stops new runs only, and this one has already begun")
    because = storm.reason or "too much fails at once"
    if storm.clear_since is None:
        return wait(s, f"the storm brake is on: {because}")
    left = f"clear since {storm.clear_since:%H:%M:%S} UTC, off after {seconds(cooldown)} of calm"
    return wait(s, f"the storm brake is on: {because}; {left}", storm.clear_since + timedelta(seconds=cooldown))
