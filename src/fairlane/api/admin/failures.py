"""``/admin/v1/failures``: failures of one organization or of all, grouped by cause, with exceptions and places."""

from typing import ClassVar

from fairlane.api.admin.shapes import answer
from fairlane.api.failures import GROUPS, GROUPS_MOST, read_since
from fairlane.api.http import Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.store import Store


class AdminFailureEndpoints:
    """The operator's endpoint."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, actor: str) -> Answer:
        """Return the groups of failures, those with most failures first."""
        asked = request.query("organization", "since", "limit")
        found = await self._store.failures.all(
            organization=asked.get("organization"),
            since=read_since(asked, now=self._store.now()),
            most=read_number("limit", asked.get("limit"), usual=GROUPS, most=GROUPS_MOST),
        )
        return answer(
            {"failures": found.groups, "since": found.since, "more": found.more, "complete_from": found.complete_from}
        )

    routes: ClassVar[Routes] = (Route("GET", "/admin/v1/failures", read),)
