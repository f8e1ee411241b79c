"""How much cheaper typed decoding is: json and msgspec on the answer a fleet of 10,000 checks gives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
from consulguard.watch.decode import Check

from bench.measure import table

COUNTS = {"tiny": 200, "small": 10_500, "large": 205_000}
ROUNDS = 7


def body(count: int) -> bytes:
    """``/v1/health/state/any`` with so many checks, in the form and size real servers give."""
    return json.dumps([_check(number) for number in range(count)], separators=(",", ":")).encode()


def _check(number: int) -> dict[str, Any]:
    service, node = f"svc-{number // 5:05}", f"node-{number % 500:05}"
    instance = f"{service}-{number % 5}"
    inner = '{"status":"UP","version":"1.42.0","components":{"db":"UP","cache":"UP"}}'
    return {
        "Node": node,
        "CheckID": f"{instance}-c0",
        "Name": f"Service '{service}' check 0",
        "Status": "passing",
        "Notes": "",
        "Output": f"HTTP GET http://10.0.0.1:8080/healthz: 200 OK Output: {inner}",
        "ServiceID": instance,
        "ServiceName": service,
        "ServiceTags": ["v1", f"team-{number % 40}"],
        "Type": "http",
        "Definition": {},
        "CreateIndex": 20 + number,
        "ModifyIndex": 20 + number,
    }


def best_s(decode: Callable[[bytes], Any], data: bytes, rounds: int = ROUNDS) -> float:
    """CPU seconds of the quickest of several rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        decode(data)
        times.append(time.process_time() - start)
    return min(times)


def report(count: int) -> str:
    data = body(count)
    decoders: tuple[tuple[str, Callable[[bytes], Any]], ...] = (
        ("json.loads", json.loads),
        ("msgspec, untyped", msgspec.json.Decoder().decode),
        ("msgspec, the watcher's Check", msgspec.json.Decoder(list[Check]).decode),
    )
    times = {name: best_s(decode, data) for name, decode in decoders}
    base = times["json.loads"]
    rows = [(name, f"{s * 1e3:.1f} ms", f"{base / s if s else 1:.1f}x") for name, s in times.items()]
    title = f"decode: {count:,} checks, {len(data) / 1e6:.1f} MB, CPU of the best of {ROUNDS}"
    return f"{title}\n\n{table(('decoder', 'CPU', 'as quick as json'), rows)}"


def main(size: str, seconds: float | None) -> None:
    print(report(COUNTS[size]))
