"""Deliveries to webhooks and their hosts as customers read them, and the filter of the list of deliveries.

Called by the API's endpoints. A try shows what its receiver answered, and how soon. Why none answered, and how soon
that was known, stays with operators, because it would tell callers about our network.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from fairlane.model.webhooks import (
    Delivery,
    DeliveryFilter,
    DeliveryList,
    DeliveryStatus,
    DeliveryTry,
    HostFacts,
    HostHold,
    HostPage,
)
from fairlane.wire.filters import read_span, refuse
from fairlane.wire.values import Count, MomentText, Uuid, Yes, encode, moment, timestamp

URL_PREFIX_LENGTH_MOST = 2_048
HOST_PREFIX_LENGTH_MOST = 260
"""A name of 253 characters, and a port."""
DELIVERY_FILTER_FIELDS = ("status", "urlPrefix", "hostPrefix", "taskId", "from", "to")
"""The conditions of a filter of deliveries. Every combination works."""
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def _is_part(text: str, most: int) -> bool:
    """Return whether a text may stand in a URL."""
    return 1 <= len(text) <= most and text.isascii() and text.isprintable()


def read_host_page(query: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the beginning of the names of hosts in a query, in lower case, and the host after which the page begins.

    The beginning is None if the query has none; an empty one fits every host. The first page begins after "".

    Raises:
        ValidationRefused: lists every parameter that is wrong.
    """
    prefix, cursor = query.get("hostPrefix"), query.get("cursor")
    wrong = []
    if prefix and not _is_part(prefix, HOST_PREFIX_LENGTH_MOST):
        wrong.append(("hostPrefix", f"must be at most {HOST_PREFIX_LENGTH_MOST} printable ASCII characters"))
    if cursor is not None and not _is_part(cursor, HOST_PREFIX_LENGTH_MOST):
        wrong.append(("cursor", "is not one that was given out"))
    elif cursor is not None and prefix is None:
        wrong.append(("cursor", "goes with hostPrefix, which may be empty: only then are hosts listed by name"))
    refuse(wrong)
    return None if prefix is None else prefix.lower(), cursor or ""


def delivery_filter(query: Mapping[str, str]) -> DeliveryFilter:
    """Read the filter in the query of a list of deliveries.

    Raises:
        ValidationRefused: lists every parameter that is wrong.
    """
    moments = read_span(query, [*_wrong_parameters(query)])
    host, task_id = query.get("hostPrefix"), query.get("taskId")
    return DeliveryFilter(
        status=DeliveryStatus(query["status"]) if "status" in query else None,
        url_prefix=query.get("urlPrefix"),
        host_prefix=None if host is None else host.lower(),
        task_id=None if task_id is None else task_id.lower(),
        created_from=moments.get("from"),
        created_before=moments.get("to"),
    )


def _wrong_parameters(query: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if "status" in query and query["status"] not in tuple(DeliveryStatus):
        yield "status", f"must be one of {', '.join(DeliveryStatus)}"
    for field, most in (("urlPrefix", URL_PREFIX_LENGTH_MOST), ("hostPrefix", HOST_PREFIX_LENGTH_MOST)):
        if field in query and not _is_part(query[field], most):
            yield field, f"must be 1 to {most} printable ASCII characters"
    if "taskId" in query and not _UUID.fullmatch(query["taskId"]):
        yield "taskId", "must be the id of a task"


ShownOutcome = Annotated[str, Meta(extra_json_schema={"enum": ["delivered", "timeout", "refused_by_policy", "failed"]})]
AnswerStatus = Annotated[int, Meta(ge=100, le=999)] | None
HeldBy = Annotated[str, Meta(extra_json_schema={"enum": [*HostHold]})] | None


class _TryFields(Struct, rename="camel"):
    number: Annotated[int, Meta(ge=1)]
    at: MomentText
    outcome: ShownOutcome
    status: AnswerStatus
    took_ms: Count | None
    answer: str | None


class _DeliveryFields(Struct, rename="camel"):
    id: Uuid
    task_id: Uuid | None
    alert_id: Uuid | None
    url: str
    created_at: MomentText
    status: Annotated[str, Meta(extra_json_schema={"enum": [*DeliveryStatus]})]
    delivered: bool
    delivered_at: MomentText | None
    next_try_at: MomentText | None
    held_by: HeldBy
    tries: list[_TryFields]


class DeliveriesBody(Struct, rename="camel"):
    deliveries: list[_DeliveryFields]
    next_cursor: str | None


class _LastTryFields(Struct, rename="camel"):
    at: MomentText
    outcome: ShownOutcome
    status: AnswerStatus
    took_ms: Count | None


class _HostFields(Struct, rename="camel"):
    host: str
    tries: Count
    failed: Count
    failed_in_row: Count
    failing_since: MomentText | None
    last_try: _LastTryFields | None
    open: Count
    open_bounded: bool
    trying: Count
    next_try_at: MomentText | None
    held_by: HeldBy


class WebhookHostsBody(Struct, rename="camel"):
    tries: Count
    failed: Count
    hosts: list[_HostFields]
    more: bool
    next_cursor: str | None


class DeliveryBody(Struct):
    success: Yes
    delivery: _DeliveryFields


def deliveries_body(page: DeliveryList) -> bytes:
    """Return one page of an organization's deliveries."""
    return encode(DeliveriesBody([_delivery(one) for one in page.deliveries], page.next_cursor))


def delivery_body(delivery: Delivery) -> bytes:
    """Return the answer that shows one delivery."""
    return encode(DeliveryBody(True, _delivery(delivery)))


def webhook_hosts_body(page: HostPage) -> bytes:
    """Return some hosts of an organization, and how its tries at all hosts ended."""
    return encode(WebhookHostsBody(page.tries, page.failed, [_host(one) for one in page.hosts], page.more, page.after))


def _host(one: HostFacts) -> _HostFields:
    last = None
    if one.last_at is not None and one.last_ms is not None:
        took_ms = _shown_ms(one.last_status, one.last_ms)
        last = _LastTryFields(timestamp(one.last_at), _outcome(one.last_error), one.last_status, took_ms)
    return _HostFields(
        one.host,
        one.tries,
        one.failed,
        one.failed_in_row,
        moment(one.failing_since),
        last,
        one.open,
        one.open_bounded,
        one.trying,
        moment(one.due_at),
        one.hold,
    )


def _delivery(one: Delivery) -> _DeliveryFields:
    return _DeliveryFields(
        one.id,
        one.task_id,
        one.alert_id,
        one.url,
        timestamp(one.created_at),
        one.status,
        one.delivered_at is not None,
        moment(one.delivered_at),
        moment(one.due_at),
        one.hold,
        [_try(tried) for tried in one.tries],
    )


def _try(tried: DeliveryTry) -> _TryFields:
    return _TryFields(
        tried.number,
        timestamp(tried.at),
        _outcome(tried.error),
        tried.http_status,
        _shown_ms(tried.http_status, tried.took_ms),
        tried.answer,
    )


def _shown_ms(status: int | None, took_ms: int) -> int | None:
    """Return how long an answer took, or None if none came: how soon it failed would tell what is on our network."""
    return None if status is None else took_ms


_SHOWN_ERRORS = {None: "delivered", "timeout": "timeout", "refused_by_policy": "refused_by_policy"}
"""The outcomes that are shown separately. Anything finer would tell callers what is on our network."""


def _outcome(error: str | None) -> str:
    return _SHOWN_ERRORS.get(error, "failed")
