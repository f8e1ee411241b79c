"""``python -m tests.replay.make_golden NAME ...``: write golden journals, and what was decided on them.

Run it for a NEW scene. Golden files that exist are evidence of what this version decided: where a replay differs,
either the change was not meant, or the changelog says why a running bot will now decide otherwise.
"""

from __future__ import annotations

import sys

import msgspec
from consulguard.app.codec import VERSION, encode

from tests.replay.decisions import replay
from tests.replay.scenes import SCENES
from tests.replay.test_golden import GOLDEN


def main() -> None:
    folder = GOLDEN / f"v{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or SCENES:
        world = SCENES[name]()
        _, decided = replay(world.events)
        (folder / f"{name}.jsonl").write_bytes(b"".join(encode(event) + b"\n" for event in world.events))
        lines = b"".join(msgspec.json.encode(line) + b"\n" for line in decided)
        (folder / f"{name}.decided.jsonl").write_bytes(lines)


if __name__ == "__main__":
    main()
