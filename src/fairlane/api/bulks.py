"""``/v1/async/tasks/retry``, ``/cancel``, ``/count`` and ``/bulk``: run again, or cancel, all tasks of a filter."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import ID_LENGTH, page_query, read_cursor, read_number
from fairlane.api.reader import read_json
from fairlane.api.routes import Route, Routes
from fairlane.api.serving import Serving
from fairlane.errors import BodyTooLarge, BulkExists, NotFound
from fairlane.model.bulks import BulkKind, NewBulk
from fairlane.model.keys import Caller
from fairlane.wire import schemas

BODY_BYTES_MOST = 16 * 1024
PAGE_MOST = 100
PAGE_DEFAULT = 20
SEGMENTS = ("The bulk's id.",)
BEGUN = (
    "Answered with 202 and a bulk: the server works through the tasks that were accepted before now, in small steps, "
    "also after a restart. GET of its `Location` says how far it is. An equal bulk that is still running, and one with "
    "the same `idempotencyKey`, is answered instead of a second one."
)


class BulkEndpoints:
    """The endpoints of bulks."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._store = serving.store

    async def retry(self, request: Request, caller: Caller) -> Answer:
        """Begin to run failed tasks again."""
        return await self._begin(request, caller, BulkKind.RETRY)

    async def cancel(self, request: Request, caller: Caller) -> Answer:
        """Begin to cancel tasks that have not ended."""
        return await self._begin(request, caller, BulkKind.CANCEL)

    async def _begin(self, request: Request, caller: Caller, kind: BulkKind) -> Answer:
        self._serving.admit()
        chosen, key = wire.read_bulk(read_json(await request.body(BODY_BYTES_MOST)), kind)
        new = NewBulk(kind=kind, chosen=chosen, organization_id=caller.organization_id, idempotency_key=key)
        bulk = await self._store.bulks.begin(new)
        location = (b"location", f"/v1/async/tasks/bulk/{bulk.id}".encode())
        return Answer(wire.changed_bulk_body(bulk), 202, (location,))

    async def find(self, request: Request, caller: Caller) -> Answer:
        """Return one bulk."""
        found = await self._store.bulks.find(_identity(request), caller.organization_id)
        return Answer(wire.bulk_body(found), headers=(NO_STORE,))

    async def stop(self, request: Request, caller: Caller) -> Answer:
        """Stop one bulk."""
        return Answer(wire.changed_bulk_body(await self._store.bulks.stop(_identity(request), caller.organization_id)))

    async def page(self, request: Request, caller: Caller) -> Answer:
        """Return one page of the organization's bulks, newest first."""
        query = request.query("cursor", "limit")
        most = read_number("limit", query.get("limit"), usual=PAGE_DEFAULT, most=PAGE_MOST)
        before = read_cursor(query.get("cursor"), length=ID_LENGTH)
        page = await self._store.bulks.page(caller.organization_id, before=before, most=most)
        return Answer(wire.bulks_body(page), headers=(NO_STORE,))

    async def count(self, request: Request, caller: Caller) -> Answer:
        """Count the tasks that a filter chooses."""
        chosen = wire.filter_of_query(request.query(*wire.FILTER_FIELDS))
        counted = await self._store.bulks.count(caller.organization_id, chosen)
        return Answer(wire.task_count_body(counted), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "POST",
            "/v1/async/tasks/retry",
            retry,
            id="retry_tasks",
            tag="bulks",
            summary="Run again all failed tasks that a filter chooses",
            description=f"Each task at most once, by the rules of `retry_task`. {BEGUN}",
            body=schemas.RETRY,
            status=202,
            answer=wire.ChangedBulkBody,
            answer_headers=("Location",),
            examples=("bulk_begun",),
            refusals=(BodyTooLarge, BulkExists),
        ),
        Route(
            "POST",
            "/v1/async/tasks/cancel",
            cancel,
            id="cancel_tasks",
            tag="bulks",
            summary="Cancel all tasks that a filter chooses and that have not ended",
            description=f"Each task by the rules of `cancel_task`. {BEGUN}",
            body=schemas.CANCEL,
            status=202,
            answer=wire.ChangedBulkBody,
            answer_headers=("Location",),
            examples=("bulk_begun",),
            refusals=(BodyTooLarge, BulkExists),
        ),
        Route(
            "GET",
            "/v1/async/tasks/count",
            count,
            id="count_tasks",
            tag="bulks",
            summary="How many tasks a filter chooses",
            description="Looks at 10,000 tasks at most: if `complete` is false there may be more. `retried` of the "
            "tasks were run again already, so that a bulk would skip them.",
            query=schemas.FILTER,
            answer=wire.TaskCountBody,
            examples=("task_count",),
        ),
        Route(
            "GET",
            "/v1/async/tasks/bulk",
            page,
            id="list_bulks",
            tag="bulks",
            summary="The organization's bulks, newest first",
            query=page_query(usual=PAGE_DEFAULT, most=PAGE_MOST),
            answer=wire.BulksBody,
            examples=("bulks",),
        ),
        Route(
            "GET",
            "/v1/async/tasks/bulk/{bulkId}",
            find,
            id="find_bulk",
            tag="bulks",
            summary="How far a bulk is",
            segments=SEGMENTS,
            answer=wire.BulkBody,
            examples=("bulk",),
            refusals=(NotFound,),
        ),
        Route(
            "DELETE",
            "/v1/async/tasks/bulk/{bulkId}",
            stop,
            id="stop_bulk",
            tag="bulks",
            summary="Stop a bulk",
            description="What it did stays. Safe to repeat; one that has ended is answered as it is.",
            segments=SEGMENTS,
            answer=wire.ChangedBulkBody,
            examples=("bulk_stopped",),
            refusals=(NotFound,),
        ),
    )


def _identity(request: Request) -> str:
    [identity] = request.parameters
    if len(identity) != ID_LENGTH:
        raise NotFound.named("bulk", identity)
    return identity
