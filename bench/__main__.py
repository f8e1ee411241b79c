"""``python -m bench [detect|storm|decode|runs|acknowledge ...] [--seconds N] [--size tiny|small|large]``."""

from __future__ import annotations

import argparse

from bench import acknowledge, decode, detect, runs, storm

BENCHES = {
    "detect": detect.main,
    "storm": storm.main,
    "decode": decode.main,
    "runs": runs.main,
    "acknowledge": acknowledge.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="bench", help=f"{', '.join(BENCHES)}; none: all")
    parser.add_argument("--seconds", type=float, help="length of each measuring window")
    parser.add_argument("--size", choices=("tiny", "small", "large"), help="default: small, for storm large")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHES]:
        parser.error(f"unknown bench: {', '.join(unknown)}")
    for name in given.names or BENCHES:
        size = given.size or ("large" if name == "storm" else "small")
        BENCHES[name](size, given.seconds)
        print(flush=True)


if __name__ == "__main__":
    main()
