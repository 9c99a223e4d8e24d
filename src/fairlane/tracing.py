"""OpenTelemetry traces: a span for each submit and one for each attempt, all in one trace.

Imported only if traces are switched on, because its package is an extra. The application chooses the SDK and where it
sends the spans; without an SDK everything here does nothing. Never in a span: payloads, results, messages of failures
or validation, keys.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context as Variables

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from fairlane import __version__
from fairlane.errors import Refusal
from fairlane.model.tasks import Accepted, NewTask
from fairlane.protocol import LeaseBody, ReportBody

FLUSH_MS = 500
"""How long an ending worker process waits for its last spans to be sent."""

FLAGS = 0x03
"""The flags that have a meaning: sampled, and (since W3C's level 2) that the trace id is random."""

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


def read_traceparent(text: str) -> SpanContext | None:
    """Return the span that a W3C ``traceparent`` of version 00 names, or None if the text is not one."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & FLAGS))


def write_traceparent(span: Span) -> str | None:
    """Return the ``traceparent`` of a span, or None if the span has no valid context."""
    named = span.get_span_context()
    if not named.is_valid:
        return None
    return f"00-{named.trace_id:032x}-{named.span_id:016x}-{named.trace_flags & FLAGS:02x}"


class Tracing:
    """Creates the spans of one process.

    Args:
        adopts: Whether this process runs on behalf of another one that already has the attempt's span.
    """

    def __init__(self, *, adopts: bool = False) -> None:
        self._tracer = trace.get_tracer("fairlane", __version__)
        self._adopts = adopts

    @contextmanager
    def submit(self, headers: Sequence[str], tasks: Sequence[NewTask]) -> Iterator["SubmitSpan"]:
        """Return the span of one request for these tasks.

        ``headers`` are the values of its ``traceparent``. A wrong or repeated header is ignored: a caller is never
        refused because of it.
        """
        types = {task.task_type for task in tasks}
        span = self._tracer.start_span(
            f"submit {types.pop()}" if len(types) == 1 else "submit",
            context=_callers(headers),
            kind=SpanKind.PRODUCER,
            attributes={"fairlane.tasks": len(tasks)},
        )
        try:
            yield SubmitSpan(span)
        except BaseException as error:
            span.set_attribute("error.type", error.code if isinstance(error, Refusal) else type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()

    def attempt(self, lease: LeaseBody, variables: Variables) -> "AttemptSpan":
        """Return the span of an attempt that begins now. The handler's own spans are below it: it runs in
        ``variables``.
        """
        parent = read_traceparent(lease.traceparent) if lease.traceparent else None
        above = None if parent is None else NonRecordingSpan(parent)
        if self._adopts:
            span: Span = above or trace.INVALID_SPAN
        else:
            span = self._tracer.start_span(
                f"run {lease.task_type}",
                context=trace.set_span_in_context(above or trace.INVALID_SPAN),
                kind=SpanKind.CONSUMER,
                attributes={
                    "fairlane.call" if lease.call else "fairlane.task": lease.task,
                    "fairlane.task_type": lease.task_type,
                    "fairlane.organization": lease.organization,
                    "fairlane.attempt": lease.attempt,
                },
            )
        variables.run(lambda: context.attach(trace.set_span_in_context(span)))
        return AttemptSpan(span)

    def flush(self) -> None:
        """Let the SDK send its remaining spans, because the process ends without exit hooks. Blocks for a moment."""
        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(FLUSH_MS)


class SubmitSpan:
    """The span of a request for new tasks."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = write_traceparent(span)
        """What the tasks keep, or None if there is nothing to keep."""

    def decided(self, tasks: Sequence[NewTask], verdicts: Sequence[Accepted | Refusal]) -> None:
        """Record the outcome of the request."""
        refused = [one for one in verdicts if isinstance(one, Refusal)]
        self._span.set_attribute("fairlane.tasks.accepted", len(verdicts) - len(refused))
        if refused:
            self._span.set_attribute("error.type", refused[0].code)
        elif len(tasks) == 1:
            self._span.set_attribute("fairlane.task", tasks[0].id)


class AttemptSpan:
    """The span of an attempt."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = write_traceparent(span)
        """What the handler may pass on, or None if there is nothing."""

    def ended(self, report: ReportBody) -> None:
        """Record how it ended: never the message, which may quote the payload."""
        self._span.set_attribute("fairlane.outcome", report.outcome)
        if report.outcome == "failed":
            self._span.set_status(StatusCode.ERROR)
            if report.failure is not None:
                self._span.set_attribute("error.type", report.failure.code)
            elif report.cause in ("timeout", "canceled"):
                self._span.set_attribute("error.type", report.cause)
        self._span.end()


def _callers(headers: Sequence[str]) -> context.Context | None:
    """Return the parent span of a request: that of an instrumentation of this server, otherwise the caller's own."""
    above = read_traceparent(headers[0]) if len(headers) == 1 else None
    if above is None or trace.get_current_span().get_span_context().is_valid:
        return None
    return trace.set_span_in_context(NonRecordingSpan(above))
