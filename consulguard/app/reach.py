"""Whether the receivers of the configuration can be told; nothing is sent."""

from __future__ import annotations

import asyncio

import aiohttp

from consulguard.app.rights import Finding
from consulguard.config import Loaded, settings
from consulguard.config.routing import Receiver
from consulguard.notify.apprise import understood


async def receiver_findings(loaded: Loaded, timeout_s: float) -> list[Finding]:
    """One for each Alertmanager and each apprise URL. Raises ConfigError where a secret file cannot be used."""
    found = []
    for name, given in sorted(loaded.config.receivers.items()):
        match given.kind:
            case "alertmanager":
                found.append(_finding(name, "answers", await _asked(loaded, given, timeout_s)))
            case "apprise":
                url = settings.token_file(loaded, given.url_file, "the file with apprise's URL").get()
                good = await asyncio.to_thread(understood, url)
                found.append(_finding(name, "apprise understands its URL", "" if good else "is no URL of apprise"))
            case _:
                pass
    return found


def _finding(name: str, good: str, bad: str) -> Finding:
    return Finding(area="receivers", ok=not bad, text=f"{name}: {bad or good}")


async def _asked(loaded: Loaded, given: Receiver, timeout_s: float) -> str:
    """What is wrong with an Alertmanager; empty: it answers."""
    token = settings.token_file(loaded, given.token_file, "the token file").get() if given.token_file else ""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limit = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=False, headers=headers) as session,
            session.get(f"{given.url}/api/v2/status", allow_redirects=False) as answer,
        ):
            return "" if answer.status == 200 else f"answers {answer.status}; check url and token_file"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"does not answer ({type(error).__name__}); check url"
