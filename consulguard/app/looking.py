"""A look's answer is put together here: Consul's part is the watcher's, the rest is asked elsewhere."""

from __future__ import annotations

import msgspec

from consulguard.act import Prometheus
from consulguard.clock import Clock
from consulguard.errors import ActionRefused, NotSent
from consulguard.events import Look, Looked


async def with_query(look: Look, looked: Looked, prometheus: Prometheus | None, clock: Clock) -> Looked:
    """``looked`` with what Prometheus says of the look's query. Where it cannot tell, the text says why."""
    if look.query is None or looked.error:
        return looked
    ok, text = None, "Prometheus is not configured: set actions.prometheus.address"
    if prometheus is not None:
        try:
            asked = await prometheus.ask(look.query)
            ok, text = asked.ok, asked.text
        except (NotSent, ActionRefused) as error:
            text = str(error)
    return msgspec.structs.replace(looked, at=clock.now(), query_ok=ok, query_text=text)
