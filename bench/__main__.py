"""``python -m bench [detect|storm|decode|runs|acknowledge|correlation|flip|failover|stopped|rolling ...]
[--seconds N] [--size SIZE]``, and for the last three ``[--runs N] [--restarts N] [--pairs N]``.

``python -m bench correlation --help`` tells the options it has when it is called by itself. Ends with 1 when a
bench says that what it measured is not good enough.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bench import acknowledge, decode, detect, failover, flip, rolling, runs, stopped, storm
from bench.correlation import main as correlation

BENCHES: dict[str, Callable[..., bool | None]] = {
    "detect": detect.main,
    "storm": storm.main,
    "decode": decode.main,
    "runs": runs.main,
    "acknowledge": acknowledge.main,
    "correlation": correlation.main,
    "flip": flip.main,
    "failover": failover.main,
    "stopped": stopped.main,
    "rolling": rolling.main,
}
OPTIONS = {"correlation": correlation.alone}  # called by itself, a bench may have options of its own
HOW_MANY = {"failover": ("pairs",), "stopped": ("runs", "pairs"), "rolling": ("restarts", "pairs")}


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in OPTIONS:
        raise SystemExit(not OPTIONS[sys.argv[1]](sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="bench", help=f"{', '.join(BENCHES)}; none: all")
    parser.add_argument("--seconds", type=float, help="length of each measuring window")
    parser.add_argument("--size", choices=("tiny", "small", "large"), help="default: small, for storm large")
    parser.add_argument("--runs", type=int, help="stopped: how often a leader is stopped")
    parser.add_argument("--restarts", type=int, help="rolling: how often a leader is restarted")
    parser.add_argument("--pairs", type=int, help="failover, stopped, rolling: how many pairs of daemons")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHES]:
        parser.error(f"unknown bench: {', '.join(unknown)}")
    kept = True
    for name in given.names or BENCHES:
        size = given.size or ("large" if name == "storm" else "small")
        more = {option: getattr(given, option) for option in HOW_MANY.get(name, ())}
        kept = BENCHES[name](size, given.seconds, **more) is not False and kept
        print(flush=True)
    raise SystemExit(not kept)


if __name__ == "__main__":
    main()
