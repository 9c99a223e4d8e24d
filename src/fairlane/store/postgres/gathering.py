"""Rows that many callers ask for at once. Calls that come while others are answered share the next statement.

So the cost for PostgreSQL does not grow with the calls, and each waits for at most one answer before its own. A
statement is sent after the calls that it answers, so each sees everything that was committed before it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from fairlane.errors import StoreUnreachable
from fairlane.store.statements import Found, Operation, Query, RowLookup, Rows

UNDER_WAY_MOST = 2
"""Most statements of one kind at once: one for each connection that reads share."""


class _Calls(Struct):
    """The calls for one kind of row."""

    waiting: list[tuple[int, "asyncio.Future[Any]"]] = []
    """The id of each call that is not sent yet, and its answer."""
    under_way: set["asyncio.Task[None]"] = set()


class Gathering:
    """What callers ask for now, on one event loop. ``read`` runs an operation of one statement."""

    def __init__(self, read: Callable[[Operation[Rows]], Awaitable[Rows]]) -> None:
        self.read = read
        self._calls: dict[str, _Calls] = {}

    async def find(self, lookup: RowLookup[Found], id: int) -> Found | None:
        """Return the committed row of this id, or None if there is none."""
        calls = self._calls.setdefault(lookup.each, _Calls())
        answer: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        calls.waiting.append((id, answer))
        if len(calls.under_way) < UNDER_WAY_MOST:
            task = asyncio.create_task(self._answer(lookup, calls))
            calls.under_way.add(task)
            task.add_done_callback(calls.under_way.discard)
        return await answer

    async def _answer(self, lookup: RowLookup[Any], calls: _Calls) -> None:
        """Answer all calls, including those that come meanwhile."""
        while calls.waiting:
            asked, calls.waiting = calls.waiting, []
            try:
                found = await self.read(_each(lookup.each, sorted({id for id, _ in asked}), lookup.into))
            except Exception as error:  # noqa: BLE001 - the callers receive it
                if isinstance(error, StoreUnreachable):
                    # Those that came meanwhile would wait for the same time again.
                    asked, calls.waiting = asked + calls.waiting, []
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            records = {record.id: record for record in found}
            for id, answer in asked:
                if not answer.done():
                    answer.set_result(records.get(id))


def _each(name: str, ids: list[int], into: type[Any]) -> Operation[Rows]:
    return (yield Query(name, {"ids": ids}, into))
