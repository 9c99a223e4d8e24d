"""``/admin/v1/trace``: waits and durations of tasks of all organizations, for a replay with other limits."""

from typing import ClassVar

from fairlane.api.admin.shapes import answer
from fairlane.api.http import Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.api.usage import read_span
from fairlane.errors import ValidationRefused
from fairlane.store import Store

PAGE = 1_000
PAGE_MOST = 5_000
DAY_MS = 86_400_000


class TraceEndpoints:
    """The operator's endpoint."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, actor: str) -> Answer:
        """Return a page of the tasks that ended in a span, by default the last day, the first to end first.

        A page may be short or empty; continue while it has a ``cursor``.
        """
        asked = request.query("from", "to", "cursor", "limit")
        start, end = read_span(asked, now=self._store.now(), usual_ms=DAY_MS)
        found = await self._store.overview.trace(
            start=start,
            before=self._store.now() + 1 if end is None else end,
            after=_after(asked.get("cursor")),
            most=read_number("limit", asked.get("limit"), usual=PAGE, most=PAGE_MOST),
        )
        shown: dict[str, object] = {"tasks": found.tasks}
        if found.after is not None:
            shown["cursor"] = f"{found.after[0]}.{found.after[1]}"
        return answer(shown)

    routes: ClassVar[Routes] = (Route("GET", "/admin/v1/trace", read),)


def _after(text: str | None) -> tuple[int, str]:
    if text is None:
        return 0, ""
    at, separator, task_id = text.partition(".")
    if not (at.isascii() and at.isdecimal() and len(at) < 19 and separator):
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return int(at), task_id
