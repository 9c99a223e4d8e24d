"""``GET /v1/async/slots``: the tasks and calls that hold the organization's slots."""

from typing import ClassVar

from msgspec.structs import replace

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import ID_LENGTH, page_query, read_cursor, read_number
from fairlane.api.routes import Route, Routes
from fairlane.model.keys import Caller
from fairlane.store import Store

PAGE_MOST = 1_000
PAGE_DEFAULT = 100


class SlotEndpoints:
    """The endpoint of slots."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: Request, caller: Caller) -> Answer:
        """Return one page, the oldest first."""
        query = request.query("cursor", "limit")
        limit = read_number("limit", query.get("limit"), usual=PAGE_DEFAULT, most=PAGE_MOST)
        cursor = read_cursor(query.get("cursor"), length=ID_LENGTH) or ""
        # One more than requested shows whether there is a next page.
        found = await self._store.slots.find(caller.organization_id, after=cursor, most=limit + 1)
        page = replace(found, slots=found.slots[:limit])
        next_cursor = page.slots[-1].id if len(found.slots) > limit else None
        return Answer(wire.slots_body(page, next_cursor), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/async/slots",
            list,
            id="list_slots",
            tag="status",
            summary="The tasks and calls that hold the organization's slots, the oldest first",
            query=page_query(usual=PAGE_DEFAULT, most=PAGE_MOST),
            answer=wire.SlotsBody,
            examples=("slots", "slots_none"),
        ),
    )
