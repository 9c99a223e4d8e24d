"""What customers send to have tasks run: one submission, or a batch split into its items.

Called by the API's endpoints with the output of the strict reader. All wrong fields are reported together. The type
checks the content of its payload, and the guard checks where a webhook may go.
"""

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import islice
from typing import Any

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from fairlane.errors import ValidationRefused
from fairlane.model.tasks import PRIORITY_HIGHEST, PRIORITY_LOWEST
from fairlane.scanning import items, trimmed
from fairlane.wire.errors import FIELD_ERRORS_MOST
from fairlane.wire.webhooks import wrong_address

IDEMPOTENCY_KEY_LENGTH = 255
UNREACHABLE = (".", "..")
"""Path segments that clients remove, also when percent-encoded (RFC 3986, 5.2.4)."""
DELAY_SECONDS_MOST = 30 * 86_400
"""Longest delay of a task, in seconds."""
BATCH_MOST = 500
"""Most tasks in one batch."""
SHORT_BATCH_BYTES = 1024 * 1024
"""Batches up to this length are split in one step."""
NAMES_SHOWN_MOST = 10
NAMES_COMPARED_MOST = 50
NAME_LENGTH_MOST = 64
"""Longer task types are not compared with the known ones."""


class AskedTask(Struct, frozen=True, kw_only=True):
    """A checked request to create a task; the payload must still be checked against its type."""

    task_type: str
    priority: int
    idempotency_key: str | None
    payload: bytes
    """The text of the JSON object, exactly the bytes received."""
    webhook_url: str | None
    """Only the type of the URL is checked."""
    run_at: int | None
    delay_ms: int


class _TaskEnvelope(Struct):
    payload: Raw


_envelope_decoder = Decoder(_TaskEnvelope)
_items_decoder = Decoder(list[Raw])


def read_submission(
    body: bytes, document: Any, task_types: Collection[str], *, now: int, suggests: bool = True
) -> AskedTask:
    """Check one task as a customer sends it. ``document`` is ``body`` as the strict reader read it.

    ``now`` limits the moment at which the task is to start. ``suggests`` says whether the refusal of an unknown type
    names the nearest one, which costs too much for each item of a batch.

    Raises:
        ValidationRefused: lists every field that is wrong.
    """
    if type(document) is not dict:
        raise ValidationRefused.at("body", "must be a JSON object")
    wrong = [*_wrong_fields(document, task_types, suggests=suggests), *_wrong_schedule(document, now)]
    if wrong:
        details = [{"field": field, "message": message} for field, message in wrong[:FIELD_ERRORS_MOST]]
        raise ValidationRefused(details=details)
    try:
        payload = bytes(_envelope_decoder.decode(body).payload)
    except DecodeError as error:  # Both readers must agree; if they do not, a refusal is safe.
        raise _no_json() from error
    return AskedTask(
        task_type=document["taskType"],
        priority=document.get("priority", PRIORITY_LOWEST),
        idempotency_key=document.get("idempotencyKey"),
        payload=payload,
        webhook_url=document["webhook"]["url"] if "webhook" in document else None,
        run_at=_moment_of(document["runAt"]) if "runAt" in document else None,
        delay_ms=document.get("delaySeconds", 0) * 1_000,
    )


def unknown_type(task_types: Collection[str]) -> ValidationRefused:
    """Return the refusal to repeat a task of a type that is no longer registered."""
    return ValidationRefused.at("taskType", f"is not a known task type; {_known(task_types)}")


def _unknown(task_type: str, task_types: Collection[str], *, suggests: bool) -> str:
    """Say that a type is not known, and what was meant, for a bounded cost whatever was sent."""
    near: list[str] = []
    if suggests and len(task_type) <= NAME_LENGTH_MOST:
        near = get_close_matches(task_type.upper(), list(task_types)[:NAMES_COMPARED_MOST], n=1)
    suggestion = f": the nearest is {near[0]}" if near else ""
    return f"is not a known task type{suggestion}; {_known(task_types)}"


def _known(task_types: Collection[str]) -> str:
    names = sorted(task_types)
    more = len(names) - NAMES_SHOWN_MOST
    shown = ", ".join(names[:NAMES_SHOWN_MOST]) or "none"
    return f"known are {shown}" + (f" and {more} more, see /openapi.json" if more > 0 else "")


def _wrong_fields(document: dict[str, Any], task_types: Collection[str], *, suggests: bool) -> list[tuple[str, str]]:
    wrong = []
    task_type, payload = document.get("taskType"), document.get("payload")
    if task_type is None:
        wrong.append(("taskType", "is required"))
    elif type(task_type) is not str:
        wrong.append(("taskType", "must be a string"))
    elif task_type not in task_types:
        wrong.append(("taskType", _unknown(task_type, task_types, suggests=suggests)))
    if payload is None:
        wrong.append(("payload", "is required"))
    elif type(payload) is not dict:
        wrong.append(("payload", "must be an object"))
    if "webhook" in document:
        wrong += wrong_address(document["webhook"], "webhook")
    for field, value in document.items():
        message = _wrong_option(field, value)
        if message is not None:
            wrong.append((field, message))
    return wrong


def _wrong_option(field: str, value: Any) -> str | None:
    """Return what is wrong with an optional field, or None if nothing is."""
    match field:
        case "taskType" | "payload" | "webhook" | "runAt" | "delaySeconds":
            return None
        case "priority":
            # The exact type: True is an int to isinstance, and 5.0 equals 5.
            fits = type(value) is int and PRIORITY_LOWEST <= value <= PRIORITY_HIGHEST
            return None if fits else f"must be an integer from {PRIORITY_LOWEST} to {PRIORITY_HIGHEST}"
        case "idempotencyKey":
            if type(value) is not str or not 1 <= len(value) <= IDEMPOTENCY_KEY_LENGTH:
                return f"must be a string of 1 to {IDEMPOTENCY_KEY_LENGTH} characters"
            return "must not be . or .., which no URL can name" if value in UNREACHABLE else None
        case _:
            return "is not a known field"


def _wrong_schedule(document: dict[str, Any], now: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the moment at which a task is to start."""
    if "delaySeconds" in document:
        delay = document["delaySeconds"]
        if not (type(delay) is int and 0 <= delay <= DELAY_SECONDS_MOST):
            yield "delaySeconds", f"must be an integer from 0 to {DELAY_SECONDS_MOST}"
    if "runAt" in document:
        run_at = _moment_of(document["runAt"])
        if run_at is None:
            yield "runAt", "must be an ISO 8601 moment with its offset, such as 2026-01-31T15:00:00Z"
        elif run_at > now + DELAY_SECONDS_MOST * 1_000:
            yield "runAt", f"must be at most {DELAY_SECONDS_MOST // 86_400} days ahead"
        if "delaySeconds" in document:
            yield "runAt", "cannot be combined with delaySeconds"


def _moment_of(value: Any) -> int | None:
    """Return milliseconds since the epoch, or None if the value is not such a moment."""
    if type(value) is not str or _MOMENT.fullmatch(value) is None:
        return None
    try:
        moment = (datetime.fromisoformat(value) - _EPOCH) // timedelta(milliseconds=1)
    except ValueError:
        return None
    return moment if moment >= _YEAR_ONE else None


_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_ONE = -62_135_596_800_000
"""Year 1 in UTC, in milliseconds. An offset can lead to an earlier moment, which cannot be written."""


def split_batch(body: bytes, most: int) -> list[bytes | None]:
    """Return the items of a batch as their own bytes, without reading them, so that a wrong item affects only itself.
    An item of more than ``most`` bytes is None.

    Raises:
        ValidationRefused: the body is not an array of 1 to BATCH_MOST values, or its items cannot be told apart.
    """
    found = _split_short(body, most)
    if found is None:
        text = trimmed(body, 0, len(body), len(body)) or b""
        try:
            spans = list(islice(items(text, 1), BATCH_MOST + 1)) if text.startswith(b"[") else []
        except ValueError as error:
            raise _no_json() from error
        found = [trimmed(text, start, end, most) for start, end in spans]
    if not 1 <= len(found) <= BATCH_MOST or found == [b""]:
        raise ValidationRefused.at("body", f"must be a JSON array of 1 to {BATCH_MOST} tasks")
    if b"" in found:
        raise _no_json()
    return found


def _split_short(body: bytes, most: int) -> list[bytes | None] | None:
    """Return the items of a batch that is not long and is an array in valid JSON, or else None."""
    if len(body) > SHORT_BATCH_BYTES:
        return None
    try:
        found = _items_decoder.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return [item if len(item) <= most else None for item in map(bytes, found)]


def _no_json() -> ValidationRefused:
    return ValidationRefused.at("body", "is not valid JSON")
