"""``GET /v1/async/usage`` and ``/usage/types``: what happened, minute by minute, in all and by task type."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.errors import ValidationRefused
from fairlane.model.keys import Caller
from fairlane.store import Store

STEPS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "2h": 7_200, "6h": 21_600, "1d": 86_400}
"""The possible lengths of a step, in seconds, by name."""
STEP_SECONDS = {str(seconds): seconds for seconds in STEPS.values()} | STEPS
POINTS_MOST = 1_500
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
SPAN_MS_MOST = 400 * 86_400_000
TYPES_SPAN_MS_MOST = 6 * HOUR_MS


class UsageEndpoints:
    """The endpoints of the history."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return a span of the caller's history."""
        query = request.query("from", "to", "step")
        step_ms = read_step_ms(query)
        start, end = read_span(query, now=self._store.now(), usual_ms=HOUR_MS)
        start -= start % step_ms
        if ((self._store.now() if end is None else end) - start) / step_ms > POINTS_MOST:
            raise ValidationRefused.at("step", f"makes more than {POINTS_MOST:,} steps: take a longer one")
        found = await self._store.usage.find(caller.organization_id, start=start, end=end, step_ms=step_ms)
        return Answer(wire.usage_body(found, step_ms=step_ms), headers=(NO_STORE,))

    async def read_types(self, request: Request, caller: Caller) -> Answer:
        """Return a span of the caller's history by task type."""
        query = request.query("from", "to", "step")
        step_ms = read_step_ms(query)
        start, end = read_type_span(query, now=self._store.now(), step_ms=step_ms)
        found = await self._store.type_usage.find(caller.organization_id, start=start, end=end, step_ms=step_ms)
        return Answer(wire.usage_by_type_body(found, step_ms=step_ms), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/async/usage",
            read,
            id="read_usage",
            tag="status",
            summary="What happened from one moment to another, in steps",
            description=f"At most {POINTS_MOST:,} steps. `to` is now by default, `from` an hour earlier.",
            query={
                "from": {"type": "string", "format": "date-time"},
                "to": {"type": "string", "format": "date-time"},
                "step": {"type": "string", "enum": [*STEP_SECONDS], "default": "1m"},
            },
            answer=wire.UsageBody,
            examples=("usage",),
        ),
        Route(
            "GET",
            "/v1/async/usage/types",
            read_types,
            id="read_usage_by_type",
            tag="status",
            summary="Run times, waits and failures by task type, in steps",
            description="At most six hours of the last day. `to` is now by default, `from` an hour earlier.",
            query={
                "from": {"type": "string", "format": "date-time"},
                "to": {"type": "string", "format": "date-time"},
                "step": {"type": "string", "enum": [*STEP_SECONDS], "default": "1m"},
            },
            answer=wire.UsageByTypeBody,
            examples=("usage_by_type",),
        ),
    )


def read_step_ms(query: dict[str, str]) -> int:
    """Return the length of a step; a minute by default. Raises ValidationRefused."""
    step = query.get("step", "1m")
    if step not in STEP_SECONDS:
        raise ValidationRefused.at("step", f"must be one of {', '.join(STEPS)}, or as many seconds")
    return STEP_SECONDS[step] * 1000


def read_type_span(query: dict[str, str], *, now: int, step_ms: int) -> tuple[int, int | None]:
    """Return a span of up to six hours, from a whole step. Raises ValidationRefused."""
    start, end = read_span(query, now=now, usual_ms=HOUR_MS)
    if (now if end is None else end) - start > TYPES_SPAN_MS_MOST:
        raise ValidationRefused.at("from", "must be at most 6 hours before to")
    return start - start % step_ms, end


def read_span(query: dict[str, str], *, now: int, usual_ms: int) -> tuple[int, int | None]:
    """Return the moments ``from`` and ``to``, with None for now. A moment in the last minute means now.

    Raises:
        ValidationRefused: one is not a moment, or they are not in order, or too far apart.
    """
    end = wire.read_moment(query["to"], "to") if "to" in query else now
    until = min(end, now)
    start = wire.read_moment(query["from"], "from") if "from" in query else until - usual_ms
    if start < 0:
        raise ValidationRefused.at("from" if "from" in query else "to", "must not lead back beyond 1970")
    if not 0 < until - start <= SPAN_MS_MOST:
        raise ValidationRefused.at("from", "must be before to and before now, by 400 days at most")
    return start, None if end > now - MINUTE_MS else end
