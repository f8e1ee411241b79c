"""A Consul twin in a process of its own, so that its work is not counted as the bot's.

``python -m bench.twin SERVICES INSTANCES NODES``: prints its address; then obeys lines: ``flip N STATUS``,
or ``flip FIRST:LAST STATUS``.
"""

from __future__ import annotations

import asyncio
import sys

from consulguard.testing import ConsulTwin


async def serve(services: int, instances: int, nodes: int) -> None:
    loop = asyncio.get_running_loop()
    async with ConsulTwin() as twin:
        keys = twin.bulk(services=services, instances=instances, nodes=nodes)
        print(twin.address, flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            _, count, status = line.split()
            first, _, last = count.rpartition(":")
            print(
                twin.flip(keys[int(first or 0) : int(last)], status, f"HTTP GET http://10.0.0.1/health: {status}"),
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(serve(*(int(word) for word in sys.argv[1:4])))
