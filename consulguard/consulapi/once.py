"""One request, sent once."""

from __future__ import annotations

import aiohttp


class Once:
    """aiohttp repeats some methods on its own when a connection breaks; an effect must not be doubled."""

    def __init__(self) -> None:
        self._sent = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._sent:
            raise aiohttp.ServerDisconnectedError("the connection broke after the request was sent")
        self._sent = True
        return await handler(request)
