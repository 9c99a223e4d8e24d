"""The spans that this process makes, for tests: one SDK for all of them, as OpenTelemetry wants it."""

import functools
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""A caller's own span, as W3C's own example has it."""


@functools.cache
def exporter() -> InMemorySpanExporter:
    """What keeps them."""
    made, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    trace.set_tracer_provider(provider)
    return made


def name_of(span: ReadableSpan) -> str:
    """As a traceparent."""
    return _written(span.get_span_context())


def above(span: ReadableSpan) -> str | None:
    """The span that it stands under, as a traceparent; None: it is the first of its trace."""
    return None if span.parent is None else _written(span.parent)


def _written(named: SpanContext | None) -> str:
    assert named is not None
    return f"00-{named.trace_id:032x}-{named.span_id:016x}-{named.trace_flags:02x}"


def told(spans: Sequence[ReadableSpan]) -> str:
    """All that they say, in one text."""
    return "".join(span.to_json() for span in spans)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes."""
    return dict(span.attributes or {})
