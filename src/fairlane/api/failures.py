"""``GET /v1/async/failures``: an organization's failures, grouped by cause and counted by the hour."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.model.keys import Caller
from fairlane.store import Store

GROUPS = 100
GROUPS_MOST = 1_000
DAY_MS = 86_400_000


class FailureEndpoints:
    """The endpoint of failures."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return the caller's groups of failures, those with most failures first."""
        query = request.query("since", "limit")
        found = await self._store.failures.find(
            caller.organization_id,
            since=read_since(query, now=self._store.now()),
            most=read_number("limit", query.get("limit"), usual=GROUPS, most=GROUPS_MOST),
        )
        return Answer(wire.failures_body(found), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/async/failures",
            read,
            id="list_failures",
            tag="status",
            summary="What failed, grouped by cause",
            description="The groups with most failures first, counted by the hour since `since`, a day ago by default; "
            "counts are kept for 14 days. `retried` are attempts that failed and were tried again. Failures that were "
            "not told apart, after the first hundred groups of an hour, are the group `fg_other`, without type and "
            "code. `message` is that of the sample, a task that is still kept.",
            query={
                "since": {"type": "string", "format": "date-time"},
                "limit": {"type": "integer", "minimum": 1, "maximum": GROUPS_MOST, "default": GROUPS},
            },
            answer=wire.FailuresBody,
            examples=("failures", "failures_none"),
        ),
    )


def read_since(query: dict[str, str], *, now: int) -> int:
    """Return the moment ``since``, a day ago by default. Raises ValidationRefused if it is not a moment."""
    return max(0, wire.read_moment(query["since"], "since")) if "since" in query else now - DAY_MS
