"""Spans to an OpenTelemetry collector, by OTLP over HTTP, from a thread of its own.

The daemon never waits for it: the queue has an end, and what finds no place in it, or is not taken, is counted and
gone. Nothing else imports OpenTelemetry, and this file is imported only where traces are switched on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from consulguard import __version__
from consulguard.serve.spans import Span, TraceSettings

QUEUE = 2048  # spans
BATCH = 256
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
log = structlog.get_logger("consulguard.traces")
Count = Callable[[int], None]


class Collector:
    """Takes spans from the event loop. ``exported`` and ``dropped`` are told how many, from any thread."""

    def __init__(self, settings: TraceSettings, exported: Count, dropped: Count) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we say it ourselves, once
        self._settings = settings
        self._exported = exported
        self._dropped = dropped
        self._queue: queue.Queue[ReadableSpan | None] = queue.Queue(QUEUE)
        self._ids = _Given()
        provider = TracerProvider(
            sampler=TraceIdRatioBased(settings.sample_ratio),
            resource=_resource(),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(_Into(self._take))
        self._tracer = provider.get_tracer("consulguard", __version__)
        self._headers: dict[str, str] | None = None
        self._exporter = self._made()
        self._closed = False
        self._away = False
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Never blocks."""
        self._ids.trace, self._ids.span = span.trace_id, span.span_id
        context = Context()
        if span.parent_id:
            above = SpanContext(span.trace_id, span.parent_id, is_remote=False, trace_flags=TraceFlags(1))
            context = set_span_in_context(NonRecordingSpan(above), context)
        made = self._tracer.start_span(
            span.name,
            context=context,
            kind=SpanKind.CLIENT if span.outward else SpanKind.INTERNAL,
            attributes={"consulguard.incident": span.trace, **span.attributes},
            start_time=_ns(span.start),
        )
        if span.failed:
            made.set_status(StatusCode.ERROR)
        made.end(_ns(max(span.start, span.end)))

    def close(self, within_s: float) -> None:
        """Send what waits, for at most so long. Blocks."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(within_s)
        self._closed = True
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        self._dropped(sum(span is not None for span in list(self._queue.queue)))

    def _take(self, span: ReadableSpan) -> None:
        try:
            self._queue.put_nowait(span)
        except queue.Full:
            self._dropped(1)

    def _work(self) -> None:
        while not self._closed:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            self._send([span for span in batch if span is not None])
            if None in batch:
                return

    def _send(self, spans: list[ReadableSpan]) -> None:
        if not spans:
            return
        if self._settings.headers is not None and dict(self._settings.headers()) != self._headers:
            self._exporter = self._made()
        taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        (self._exported if taken else self._dropped)(len(spans))
        if taken is self._away:  # news
            self._away = not taken
            where = self._settings.endpoint
            if taken:
                log.info("traces_exported_again", endpoint=where)
            else:
                log.warning("traces_not_exported", endpoint=where)

    def _made(self) -> OTLPSpanExporter:
        given = self._settings
        self._headers = dict(given.headers()) if given.headers is not None else None
        return OTLPSpanExporter(
            endpoint=given.endpoint, certificate_file=given.ca_file or None, headers=self._headers
        )


class _Given(IdGenerator):
    """Ids that are set beforehand."""

    trace = 1
    span = 1

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


class _Into(SpanProcessor):
    def __init__(self, take: Callable[[ReadableSpan], None]) -> None:
        self._take = take

    def on_end(self, span: ReadableSpan) -> None:
        self._take(span)


def _resource() -> Resource:
    """Who we are; $OTEL_SERVICE_NAME and $OTEL_RESOURCE_ATTRIBUTES win."""
    ours = {
        "service.name": "consulguard",
        "service.version": __version__,
        "service.instance.id": f"{os.environ.get('POD_NAME') or socket.gethostname()}/{os.getpid()}",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": sdk_version,
    }
    return Resource(ours).merge(OTELResourceDetector().detect())


def _ns(at: datetime) -> int:
    """Nanoseconds since 1970; exact, unlike a float."""
    return (at - EPOCH) // timedelta(microseconds=1) * 1000
