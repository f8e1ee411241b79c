"""Elasticsearch as a sink: bulk requests that create, so that nothing is ever written over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consulguard.errors import ConfigError, ExportRefused, ExportUnavailable
from consulguard.journal.documents import Document, index_template

INDEX = "logs-consulguard.journal-default"
THERE = 409  # a document of this id: it arrived the last time
AGAIN = frozenset({408, 429, 502, 503, 504})


class ElasticSink:
    """``api_key`` empty: none is sent. ``ca_file`` empty: the system's certificates."""

    def __init__(
        self, url: str, *, index: str = INDEX, api_key: str = "", ca_file: str = "", timeout_s: float = 30.0
    ) -> None:
        try:
            import elasticsearch
        except ImportError:
            raise ConfigError("journal export needs the extra: pip install 'consulguard[elasticsearch]'") from None
        self._library = elasticsearch
        self._index = index
        given: dict[str, Any] = {"api_key": api_key} if api_key else {}
        if ca_file:
            given["ca_certs"] = ca_file
        try:
            self._client = elasticsearch.AsyncElasticsearch(
                url, request_timeout=timeout_s, retry_on_timeout=False, max_retries=0, **given
            )
        except (ValueError, OSError) as error:
            raise ConfigError(f"Elasticsearch cannot be used so: {error}", where="--elasticsearch") from None

    async def put(self, documents: Sequence[Document]) -> None:
        operations: list[dict[str, Any]] = []
        for one in documents:
            operations += [{"create": {"_index": self._index, "_id": one.id}}, one.source]
        answer = await self._told(self._client.bulk(operations=operations))
        if answer["errors"]:
            _judge([next(iter(item.values())) for item in answer["items"]], documents)

    async def prepare(self) -> None:
        """Put the index template there. Raises ExportUnavailable, ExportRefused."""
        await self._told(self._client.indices.put_index_template(name="consulguard", **_template()))

    async def close(self) -> None:
        await self._client.close()

    async def _told(self, request: Any) -> Any:
        """The answer, foreign errors translated."""
        try:
            return await request
        except self._library.ApiError as error:
            status = error.status_code
            kind = ExportUnavailable if status in AGAIN else ExportRefused
            raise kind(f"Elasticsearch answered {status}: {error.message}") from None
        except self._library.TransportError as error:
            raise ExportUnavailable(f"Elasticsearch does not answer: {error.message}") from None


def _judge(items: Sequence[dict[str, Any]], documents: Sequence[Document]) -> None:
    """Raise unless every document is there now."""
    bad = [(item, one) for item, one in zip(items, documents, strict=True) if _missing(item)]
    for item, one in bad:
        if item["status"] not in AGAIN:
            why = item.get("error", {})
            words = f"{why.get('type', '')}: {why.get('reason', '')}" if isinstance(why, dict) else str(why)
            raise ExportRefused(f"entry {one.seq} was refused with {item['status']}: {words}")
    if bad:
        raise ExportUnavailable(f"{len(bad)} of {len(documents)} documents were not taken: {bad[0][0]['status']}")


def _missing(item: dict[str, Any]) -> bool:
    return not (200 <= item["status"] < 300 or item["status"] == THERE)


def _template() -> dict[str, Any]:
    found = index_template()
    return {**{key: value for key, value in found.items() if key != "_meta"}, "meta": found["_meta"]}
