"""Webhooks, in and out: the address that a customer sends, and the deliveries owed to it with their tries.

Called by the API's endpoints; submissions and alerts also have their addresses checked here. A try shows only its
class: anything finer would tell callers what answers on our network.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from fairlane.errors import ValidationRefused
from fairlane.model.webhooks import Delivery, DeliveryTry
from fairlane.wire.errors import FIELD_ERRORS_MOST
from fairlane.wire.values import MomentText, Uuid, Yes, encode, moment, timestamp


def read_address(document: Any) -> str:
    """Return the URL in ``{"url": …}``; only its type is checked.

    Raises:
        ValidationRefused: lists every field that is wrong.
    """
    wrong = wrong_address(document, "")
    if wrong:
        raise ValidationRefused(details=[{"field": field, "message": message} for field, message in wrong])
    url: str = document["url"]
    return url


def wrong_address(document: Any, path: str) -> list[tuple[str, str]]:
    """Return what is wrong with ``{"url": …}`` at this path; an empty path means the body itself."""
    if type(document) is not dict:
        return [(path or "body", "must be an object with a url" if path else "must be a JSON object")]
    prefix = f"{path}." if path else ""
    wrong = [(f"{prefix}{field}", "is not a known field") for field in document if field != "url"]
    if "url" not in document:
        wrong.append((f"{prefix}url", "is required"))
    elif type(document["url"]) is not str:
        wrong.append((f"{prefix}url", "must be a string"))
    return wrong[:FIELD_ERRORS_MOST]


class _TryFields(Struct, rename="camel"):
    number: Annotated[int, Meta(ge=1)]
    at: MomentText
    outcome: Annotated[str, Meta(extra_json_schema={"enum": ["delivered", "timeout", "refused_by_policy", "failed"]})]
    status: Annotated[str, Meta(pattern="^[1-9]xx$")] | None


class _DeliveryFields(Struct, rename="camel"):
    id: Uuid
    task_id: Uuid | None
    alert_id: Uuid | None
    url: str
    created_at: MomentText
    status: Annotated[str, Meta(extra_json_schema={"enum": ["due", "trying", "delivered", "given_up"]})]
    delivered: bool
    delivered_at: MomentText | None
    next_try_at: MomentText | None
    tries: list[_TryFields]


class DeliveriesBody(Struct, rename="camel"):
    deliveries: list[_DeliveryFields]
    next_cursor: str | None


class DeliveryBody(Struct):
    success: Yes
    delivery: _DeliveryFields


def deliveries_body(deliveries: Sequence[Delivery], next_cursor: str | None) -> bytes:
    """Return one page of an organization's deliveries."""
    return encode(DeliveriesBody([_delivery(one) for one in deliveries], next_cursor))


def delivery_body(delivery: Delivery) -> bytes:
    """Return the answer that shows one delivery."""
    return encode(DeliveryBody(True, _delivery(delivery)))


def _delivery(one: Delivery) -> _DeliveryFields:
    return _DeliveryFields(
        one.id,
        one.task_id,
        one.alert_id,
        one.url,
        timestamp(one.created_at),
        _delivery_status(one),
        one.delivered_at is not None,
        moment(one.delivered_at),
        moment(one.due_at),
        [_TryFields(tried.number, timestamp(tried.at), _outcome(tried), _status_class(tried)) for tried in one.tries],
    )


def _delivery_status(one: Delivery) -> str:
    if one.trying:
        return "trying"
    if one.due_at is not None:
        return "due"
    return "given_up" if one.delivered_at is None else "delivered"


_SHOWN_ERRORS = {None: "delivered", "timeout": "timeout", "refused_by_policy": "refused_by_policy"}
"""The outcomes that are shown separately. Anything finer would tell callers what answers on our network."""


def _outcome(tried: DeliveryTry) -> str:
    return _SHOWN_ERRORS.get(tried.error, "failed")


def _status_class(tried: DeliveryTry) -> str | None:
    return None if tried.http_status is None else f"{tried.http_status // 100}xx"
