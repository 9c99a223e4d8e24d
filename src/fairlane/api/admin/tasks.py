"""``/admin/v1/tasks``: tasks of all organizations, with the true causes of their failures."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.admin.shapes import BODY_BYTES_MOST, answer
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.reader import read_json
from fairlane.api.routes import Route, Routes
from fairlane.errors import ValidationRefused
from fairlane.model.bulks import BulkKind, BulkView, NewBulk
from fairlane.model.tasks import TaskFilter
from fairlane.store import Store

PAGE = 100
PAGE_MOST = 1_000
KEY_PREFIX = "idempotency_key_prefix"
BODY_FIELDS = {KEY_PREFIX: wire.KEY_PREFIX, "idempotency_key": wire.BULK_KEY}
"""What bodies of operators call other than those of customers."""
FILTER_FIELDS = (*(field for field in wire.FILTER_FIELDS if field != wire.KEY_PREFIX), KEY_PREFIX)


class AdminTaskEndpoints:
    """The operator's endpoints."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: Request, actor: str) -> Answer:
        """Return a page: newest organization first, newest task first, or by key if keys are chosen.

        A page may be short or empty; continue while it has a ``cursor``.
        """
        asked = request.query("organization", *FILTER_FIELDS, "cursor", "limit")
        organization, chosen = asked.get("organization"), wire.filter_of_query(asked, key_field=KEY_PREFIX)
        _check(organization, chosen)
        found = await self._store.overview.tasks(
            organization=organization,
            chosen=chosen,
            after=_after(asked.get("cursor")),
            most=read_number("limit", asked.get("limit"), usual=PAGE, most=PAGE_MOST),
        )
        shown: dict[str, object] = {"tasks": found.tasks}
        if found.after is not None:
            shown["cursor"] = f"{found.after[0]}.{found.after[1]}"
        return answer(shown)

    async def count(self, request: Request, actor: str) -> Answer:
        """Count the tasks that a filter chooses, of an organization or of all; a bounded number is looked at."""
        asked = request.query("organization", *FILTER_FIELDS)
        organization, chosen = asked.get("organization"), wire.filter_of_query(asked, key_field=KEY_PREFIX)
        _check(organization, chosen)
        return answer(await self._store.bulks.count(organization, chosen))

    async def retry_all(self, request: Request, actor: str) -> Answer:
        """Begin to run failed tasks again, of an organization or of all."""
        return await self._begin(request, actor, BulkKind.RETRY)

    async def cancel_all(self, request: Request, actor: str) -> Answer:
        """Begin to cancel tasks that have not ended, of an organization or of all."""
        return await self._begin(request, actor, BulkKind.CANCEL)

    async def _begin(self, request: Request, actor: str, kind: BulkKind) -> Answer:
        document = read_json(await request.body(BODY_BYTES_MOST))
        if type(document) is not dict:
            raise ValidationRefused.at("body", "must be a JSON object")
        asked = {BODY_FIELDS.get(field, field): value for field, value in document.items()}
        organization = asked.pop("organization", None)
        if organization is not None and type(organization) is not str:
            raise ValidationRefused.at("organization", "must be the name of an organization")
        chosen, key = wire.read_bulk(asked, kind)
        _check(organization, chosen)
        new = NewBulk(kind=kind, chosen=chosen, organization=organization, idempotency_key=key, actor=actor)
        return answer(_shown(await self._store.bulks.begin(new)), status=202)

    async def bulks(self, request: Request, actor: str) -> Answer:
        """Return one page of all bulks, newest first."""
        asked = request.query("cursor", "limit")
        most = read_number("limit", asked.get("limit"), usual=PAGE, most=PAGE_MOST)
        page = await self._store.bulks.page(None, before=asked.get("cursor"), most=most)
        shown: dict[str, object] = {"bulks": [_shown(one) for one in page.bulks]}
        if page.next_cursor is not None:
            shown["cursor"] = page.next_cursor
        return answer(shown)

    async def bulk(self, request: Request, actor: str) -> Answer:
        """Return one bulk."""
        [identity] = request.parameters
        return answer(_shown(await self._store.bulks.find(identity, None)))

    async def stop(self, request: Request, actor: str) -> Answer:
        """Stop one bulk; what it did stays."""
        [identity] = request.parameters
        return answer(_shown(await self._store.bulks.stop(identity, None, actor=actor)))

    async def read(self, request: Request, actor: str) -> Answer:
        """Return one task of any organization."""
        return answer(await self._store.overview.task(*request.parameters))

    async def attempts(self, request: Request, actor: str) -> Answer:
        """Return the attempts at one task of any organization, with causes and workers."""
        return answer(await self._store.attempts.of_any(*request.parameters))

    async def payload(self, request: Request, actor: str) -> Answer:
        """Return the payload of one task of any organization as it was sent, byte for byte."""
        return Answer((await self._store.overview.payload(*request.parameters)).encode(), headers=(NO_STORE,))

    async def result(self, request: Request, actor: str) -> Answer:
        """Return the result of one task of any organization as its handler returned it, or null."""
        found = await self._store.overview.result(*request.parameters)
        return Answer((found or "null").encode(), headers=(NO_STORE,))

    async def cancel(self, request: Request, actor: str) -> Answer:
        """Cancel a task: at once if it waits; a running one is asked to end."""
        return answer(await self._store.overview.cancel(*request.parameters, actor=actor))

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/tasks", list),
        Route("GET", "/admin/v1/tasks/count", count),
        Route("POST", "/admin/v1/tasks/retry", retry_all),
        Route("POST", "/admin/v1/tasks/cancel", cancel_all),
        Route("GET", "/admin/v1/tasks/bulk", bulks),
        Route("GET", "/admin/v1/tasks/bulk/{bulk}", bulk),
        Route("DELETE", "/admin/v1/tasks/bulk/{bulk}", stop),
        Route("GET", "/admin/v1/tasks/{task}", read),
        Route("GET", "/admin/v1/tasks/{task}/attempts", attempts),
        Route("GET", "/admin/v1/tasks/{task}/payload", payload),
        Route("GET", "/admin/v1/tasks/{task}/result", result),
        Route("DELETE", "/admin/v1/tasks/{task}", cancel),
    )


def _check(organization: str | None, chosen: TaskFilter) -> None:
    """Refuse a filter that has no index."""
    if organization is None and chosen.key_prefix is not None:
        raise ValidationRefused.at(KEY_PREFIX, "goes with organization: keys are indexed by organization")


def _shown(bulk: BulkView) -> dict[str, object]:
    """Return a bulk with its filter as operators write it."""
    fields = {name: getattr(bulk, name) for name in BulkView.__struct_fields__ if name != "chosen"}
    names = {wire.KEY_PREFIX: KEY_PREFIX}
    return {
        **fields,
        "filter": {names.get(name, name): value for name, value in wire.filter_fields(bulk.chosen).items()},
    }


def _after(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    organization_id, separator, place = text.partition(".")
    if not (organization_id.isascii() and organization_id.isdecimal() and len(organization_id) < 19 and separator):
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return int(organization_id), place
