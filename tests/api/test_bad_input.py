"""What bad input gets: the envelope and the right code, never a 500, and nothing is changed."""

import json
from typing import Any

import pytest

from tests.api.house import Customer, House, error_of, fields_of
from tests.tables import each

KEY = "sk_live_1234567890abcdef1234567890abcdef"
REFUSED_BEFORE_THE_STORE = True


@each(
    "header, code",
    [
        (None, "MISSING_API_KEY"),
        ("", "MISSING_API_KEY"),
        ("Bearer", "MISSING_API_KEY"),
        (f"Basic {KEY}", "MISSING_API_KEY"),
        (KEY, "MISSING_API_KEY"),
        ("Bearer hello", "INVALID_API_KEY_FORMAT"),
        ("Bearer sk_live_short", "INVALID_API_KEY_FORMAT"),
        ("Bearer SK_LIVE_1234567890abcdef", "INVALID_API_KEY_FORMAT"),
        (f"Bearer {KEY} {KEY}", "INVALID_API_KEY_FORMAT"),
        ("Bearer sk_live_" + "é" * 20, "INVALID_API_KEY_FORMAT"),
        ("Bearer sk_live_" + "a" * 10_000, "INVALID_API_KEY_FORMAT"),
        ("Bearer sk_live_00000000000000000000000000000000", "INVALID_OR_EXPIRED_API_KEY"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/async/status", "/v1/async/task", "/v1/async/task/x", "/v1/nope", "/v1", "/v1/"])
def test_who_has_no_key_is_told_before_anything_else(shared: House, header: str | None, code: str, path: str) -> None:
    """401 on every path below /v1, known or not, whatever the method."""
    headers = [] if header is None else [(b"authorization", header.encode())]
    with shared.client() as client:
        for method in ("GET", "POST", "DELETE"):
            answer = client.request(method, path, headers=headers, content=b"{")

            assert answer.status_code == 401
            assert error_of(answer)["code"] == code
            assert "allow" not in answer.headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_taken_in_any_case(customer: Customer, scheme: str) -> None:
    """As the RFC says."""
    header = {"authorization": f"{scheme} {customer.key['value']}"}

    assert customer.client.get("/v1/async/status", headers=header).status_code == 200


def test_a_revoked_key_and_a_disabled_organization_are_refused_at_once(customer: Customer) -> None:
    """From the next request on, on the same connection; enabling it helps."""
    customer.status()
    customer.change(disabled=True)
    disabled = customer.client.get("/v1/async/status")
    customer.change(disabled=False)
    customer.status()
    customer.house.admin.delete(f"/admin/v1/keys/{customer.key['id']}")
    revoked = customer.submit()

    for answer in (disabled, revoked):
        assert answer.status_code == 401
        assert error_of(answer)["code"] == "INVALID_OR_EXPIRED_API_KEY"


def with_payload(text: str) -> bytes:
    """A task whose payload is this JSON text."""
    return b'{"taskType": "ANY", "payload": %s}' % text.encode()


@each(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        with_payload('{"a": NaN}'),
        with_payload('{"a": Infinity}'),
        with_payload('{"a": 1e400}'),
        with_payload('{"a": 1, "a": 1}'),
        with_payload('{"a":' + "[" * 65 + "]" * 65 + "}"),
        with_payload('{"a":' + "[" * 1_000_000),
        with_payload('{"a": 18446744073709551616}'),
        with_payload('{"a": ' + "1" * 4301 + "}"),
        with_payload('{"a": "\\u0000"}'),
        with_payload('{"a": "\\ud800"}'),
        with_payload('{"\\udfff": 1}'),
        with_payload("{}") + b",",
        b'{"taskType": "ANY", "taskType": "ANY", "payload": {}}',
        json.dumps({"taskType": "ANY", "payload": {}}).encode("utf-16"),
        b"\xef\xbb\xbf" + with_payload("{}"),
        b'{"taskType": "ANY", "payload": {"a": "\xff"}}',
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(customer: Customer, body: bytes) -> None:
    """400, the field is the body itself, and nothing is queued."""
    answer = customer.send(body)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "VALIDATION_ERROR"
    assert fields_of(answer) == ["body"]
    assert customer.status()["queuedTasks"] == 0


@each(
    "change, fields",
    [
        ({"taskType": None}, ["taskType"]),
        ({"taskType": 5}, ["taskType"]),
        ({"taskType": "NOPE"}, ["taskType"]),
        ({"taskType": "any"}, ["taskType"]),
        ({"payload": None}, ["payload"]),
        ({"payload": []}, ["payload"]),
        ({"payload": "{}"}, ["payload"]),
        ({"taskType": None, "payload": None}, ["taskType", "payload"]),
        ({"priority": True}, ["priority"]),
        ({"priority": False}, ["priority"]),
        ({"priority": 5.0}, ["priority"]),
        ({"priority": 0}, ["priority"]),
        ({"priority": 11}, ["priority"]),
        ({"priority": -1}, ["priority"]),
        ({"priority": "5"}, ["priority"]),
        ({"priority": None}, ["priority"]),
        ({"idempotencyKey": ""}, ["idempotencyKey"]),
        ({"idempotencyKey": "k" * 256}, ["idempotencyKey"]),
        ({"idempotencyKey": 5}, ["idempotencyKey"]),
        ({"idempotencyKey": None}, ["idempotencyKey"]),
        ({"webhook": None}, ["webhook"]),
        ({"webhook": "https://example.com/hook"}, ["webhook"]),
        ({"webhook": {}}, ["webhook.url"]),
        ({"webhook": {"url": None}}, ["webhook.url"]),
        ({"webhook": {"url": "https://example.com/hook", "secret": "x"}}, ["webhook.secret"]),
        ({"webhook": {"url": "https://user@example.com/hook"}}, ["webhook.url"]),
        ({"webhook": {"url": "https://example.com:22/hook"}}, ["webhook.url"]),
        ({"webhook": {"url": "http://127.0.0.1:8000/hook"}}, ["webhook.url"]),
        ({"webhook": {"url": "http://169.254.169.254/latest/"}}, ["webhook.url"]),
        ({"webhook": {"url": "http://[::ffff:127.0.0.1]/"}}, ["webhook.url"]),
        ({"runAt": "0001-01-01T00:00:00+14:00"}, ["runAt"]),
        ({"color": "red"}, ["color"]),
        ({"priority": 0, "idempotencyKey": "", "color": 1}, ["priority", "idempotencyKey", "color"]),
        ({"taskType": "PAGE"}, ["payload.url"]),
        ({"taskType": "PAGE", "payload": {"url": 5}}, ["payload.url"]),
        ({"taskType": "PAGE", "payload": {"url": "a", "depth": "x"}}, ["payload.depth"]),
        ({"taskType": "PAGE", "payload": {"url": "a", "tags": ["a", 1]}}, ["payload.tags.1"]),
        ({"taskType": "PAGE", "payload": {"url": "a", "more": 1}}, ["payload.more"]),
    ],
)
def test_a_wrong_field_is_named(customer: Customer, change: dict[str, Any], fields: list[str]) -> None:
    """400 with the path of every wrong field, and nothing is queued."""
    answer = customer.client.post("/v1/async/task", json={"taskType": "ANY", "payload": {}} | change)

    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["code"], error["message"]) == ("VALIDATION_ERROR", "Request validation failed")
    assert fields_of(answer) == fields
    assert customer.status()["queuedTasks"] == 0


def test_a_thousand_mistakes_get_a_short_answer(customer: Customer) -> None:
    """The answer does not grow with the mistakes."""
    body = {f"field{number}": 1 for number in range(1000)}

    assert len(fields_of(customer.client.post("/v1/async/task", json=body))) == 20


@pytest.mark.parametrize("reference", ["unknown", "01a209be-974c-7271-b8c2-850a83a4ce57", "a" * 256, "%ff", "%00"])
def test_an_unknown_task_is_not_found(customer: Customer, reference: str) -> None:
    """404, whatever was asked for."""
    answer = customer.find(reference)

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "RESOURCE_NOT_FOUND"


def test_a_foreign_task_is_answered_like_an_unknown_one(shared: House, customer: Customer) -> None:
    """By id and by key: the same body but for the name asked for and the time."""
    stranger = shared.customer()
    task_id = customer.accepted(idempotencyKey="theirs")
    unknown = "01a209be-974c-7271-b8c2-850a83a4ce57"

    bodies = []
    with stranger.client:
        for reference in (task_id, "theirs", unknown):
            answer = stranger.find(reference)
            assert answer.status_code == 404
            error = error_of(answer)
            assert error.pop("details") == {"id": reference}
            error.pop("timestamp")
            bodies.append(error)

    assert bodies == [{"code": "RESOURCE_NOT_FOUND", "message": "Task not found"}] * 3
