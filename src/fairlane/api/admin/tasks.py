"""``/admin/v1/tasks``: tasks of all organizations, with the true causes of their failures."""

from typing import ClassVar

from fairlane.api.admin.shapes import answer
from fairlane.api.http import Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.errors import ValidationRefused
from fairlane.model.tasks import TaskStatus
from fairlane.store import Store

PAGE = 100
PAGE_MOST = 1_000


class AdminTaskEndpoints:
    """The operator's endpoints."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: Request, actor: str) -> Answer:
        """Return a page: newest organization first, newest task first.

        A page may be short or empty; continue while it has a ``cursor``.
        """
        asked = request.query("organization", "status", "type", "cursor", "limit")
        found = await self._store.overview.tasks(
            organization=asked.get("organization"),
            status=_status(asked.get("status")),
            task_type=asked.get("type"),
            start=_start(asked.get("cursor")),
            most=read_number("limit", asked.get("limit"), usual=PAGE, most=PAGE_MOST),
        )
        shown: dict[str, object] = {"tasks": found.tasks}
        if found.start is not None:
            shown["cursor"] = f"{found.start[0]}.{found.start[1]}"
        return answer(shown)

    async def read(self, request: Request, actor: str) -> Answer:
        """Return one task of any organization."""
        return answer(await self._store.overview.task(*request.parameters))

    async def cancel(self, request: Request, actor: str) -> Answer:
        """Cancel a task: at once if it waits; a running one is asked to end."""
        return answer(await self._store.overview.cancel(*request.parameters, actor=actor))

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/tasks", list),
        Route("GET", "/admin/v1/tasks/{task}", read),
        Route("DELETE", "/admin/v1/tasks/{task}", cancel),
    )


def _status(text: str | None) -> TaskStatus | None:
    if text is None:
        return None
    if text not in TaskStatus.__members__:
        raise ValidationRefused.at("status", f"must be one of {', '.join(TaskStatus)}")
    return TaskStatus(text)


def _start(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    organization_id, separator, task_id = text.partition(".")
    if not (organization_id.isascii() and organization_id.isdecimal() and len(organization_id) < 19 and separator):
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return int(organization_id), task_id
