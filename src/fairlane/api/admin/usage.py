"""``/admin/v1/usage``: what organizations used in a month, for billing; and run times and waits by task type."""

import csv
import io
import re
from typing import ClassVar

import msgspec

from fairlane.api.admin.shapes import answer
from fairlane.api.http import Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.api.usage import read_step_ms, read_type_span
from fairlane.errors import ValidationRefused
from fairlane.model.usage import UsedInMonth
from fairlane.store import Store
from fairlane.wire import timestamp

CSV = b"text/csv; charset=utf-8"
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


class AdminUsageEndpoints:
    """The operator's endpoints."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def monthly(self, request: Request, actor: str) -> Answer:
        """Return one row for each organization, as JSON or as CSV."""
        asked = request.query("month", "format", "organization")
        month, form = asked.get("month", ""), asked.get("format", "json")
        if not _MONTH.fullmatch(month):
            raise ValidationRefused.at("month", "must be a month such as 2026-11")
        if form not in ("json", "csv"):
            raise ValidationRefused.at("format", "must be json or csv")
        used = await self._store.months.find(month, asked.get("organization"))
        if form == "json":
            return answer({"usage": used})
        return Answer(_csv(used), content_type=CSV)

    async def types(self, request: Request, actor: str) -> Answer:
        """Return a span of the history by task type, of one organization or of all together."""
        asked = request.query("from", "to", "step", "organization")
        step_ms = read_step_ms(asked)
        start, end = read_type_span(asked, now=self._store.now(), step_ms=step_ms)
        return answer(
            await self._store.type_usage.all(
                organization=asked.get("organization"), start=start, end=end, step_ms=step_ms
            )
        )

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/usage/monthly", monthly),
        Route("GET", "/admin/v1/usage/types", types),
    )


def _csv(used: list[UsedInMonth]) -> bytes:
    """Return CSV with a header line and moments as ISO 8601 UTC.

    Names of organizations cannot begin with characters that spreadsheets execute.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, UsedInMonth.__struct_fields__, lineterminator="\n")
    writer.writeheader()
    for one in used:
        row = msgspec.structs.asdict(one)
        row["from_at"], row["until_at"] = timestamp(one.from_at), timestamp(one.until_at)
        row["closed"] = "yes" if one.closed else "no"
        row["slot_seconds"] = f"{one.slot_seconds:.3f}"
        writer.writerow(row)
    return text.getvalue().encode()
