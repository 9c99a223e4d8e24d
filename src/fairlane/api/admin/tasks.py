"""``/admin/v1/tasks``: tasks of all organizations, with the true causes of their failures."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.admin.shapes import answer
from fairlane.api.http import Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.errors import ValidationRefused
from fairlane.store import Store

PAGE = 100
PAGE_MOST = 1_000
KEY_PREFIX = "idempotency_key_prefix"
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
        if organization is None and chosen.key_prefix is not None:
            raise ValidationRefused.at(KEY_PREFIX, "goes with organization: keys are indexed by organization")
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

    async def read(self, request: Request, actor: str) -> Answer:
        """Return one task of any organization."""
        return answer(await self._store.overview.task(*request.parameters))

    async def attempts(self, request: Request, actor: str) -> Answer:
        """Return the attempts at one task of any organization, with causes and workers."""
        return answer(await self._store.attempts.of_any(*request.parameters))

    async def cancel(self, request: Request, actor: str) -> Answer:
        """Cancel a task: at once if it waits; a running one is asked to end."""
        return answer(await self._store.overview.cancel(*request.parameters, actor=actor))

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/tasks", list),
        Route("GET", "/admin/v1/tasks/{task}", read),
        Route("GET", "/admin/v1/tasks/{task}/attempts", attempts),
        Route("DELETE", "/admin/v1/tasks/{task}", cancel),
    )


def _after(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    organization_id, separator, place = text.partition(".")
    if not (organization_id.isascii() and organization_id.isdecimal() and len(organization_id) < 19 and separator):
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return int(organization_id), place
