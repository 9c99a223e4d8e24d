"""The contract's table of errors, row by row: code, status, message and what ``details`` holds never change."""

from typing import Any

import pytest

from fairlane import errors
from fairlane.errors import Refusal
from fairlane.model.tasks import Failure
from fairlane.rules.attempts import EXHAUSTED, UNPAID

QUEUE_DETAILS = {
    "limit": 100_000,
    "queuedCount": 99_800,
    "batchSize": 500,
    "maxQueueSize": 100_000,
    "remainingCapacity": 200,
}

ROWS: list[tuple[Refusal, int, str, str, Any, int | None]] = [
    (
        errors.ValidationRefused.at("payload.country", "is wrong"),
        400,
        "VALIDATION_ERROR",
        "Request validation failed",
        [{"field": "payload.country", "message": "is wrong"}],
        None,
    ),
    (errors.KeyMissing(), 401, "MISSING_API_KEY", "Missing or invalid API key", None, None),
    (errors.KeyMalformed(), 401, "INVALID_API_KEY_FORMAT", "Invalid API key format", None, None),
    (errors.KeyRefused(), 401, "INVALID_OR_EXPIRED_API_KEY", "Invalid or expired API key", None, None),
    (errors.CreditsShort(), 403, "INSUFFICIENT_CREDITS", "Insufficient credits", None, None),
    (errors.NotFound.route("/v1/nope"), 404, "RESOURCE_NOT_FOUND", "Route not found", {"id": "/v1/nope"}, None),
    (errors.NotFound.task("x"), 404, "RESOURCE_NOT_FOUND", "Task not found", {"id": "x"}, None),
    (
        errors.TaskExists("job-123"),
        409,
        "RESOURCE_ALREADY_EXISTS",
        "Task already exists",
        {"field": "idempotencyKey", "value": "job-123"},
        None,
    ),
    (
        errors.BodyTooLarge(1_048_576),
        413,
        "PAYLOAD_TOO_LARGE",
        "Request body is too large",
        {"limit": 1_048_576},
        None,
    ),
    (
        errors.EncodingRefused("gzip"),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "Request body must not be compressed",
        {"contentEncoding": "gzip"},
        None,
    ),
    (
        errors.ConcurrencyFull(slots_used=5, slots_max=5),
        429,
        "CONCURRENCY_LIMIT_EXCEEDED",
        "Concurrency limit exceeded",
        {"limit": 5},
        None,
    ),
    (
        errors.QueueFull(limit=100_000, queued=99_800, wanted=500),
        429,
        "QUEUE_LIMIT_EXCEEDED",
        "Queue limit exceeded. Maximum 100000 queued tasks allowed per organization",
        QUEUE_DETAILS,
        None,
    ),
    (errors.RateLimited(), 429, "RATE_LIMIT_EXCEEDED", "API key rate limit exceeded", None, 1),
    (errors.Unavailable(), 503, "SERVICE_UNAVAILABLE", "Service unavailable", None, 2),
]
"""(refusal, status, code, message, details, Retry-After)."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[1]}-{row[2]}")
def test_an_error_is_what_the_contract_says(row: tuple[Refusal, int, str, str, Any, int | None]) -> None:
    """Programs branch on the code, people read the message, clients sleep for as long as Retry-After says."""
    refusal, *expected = row

    assert [refusal.status, refusal.code, str(refusal), refusal.details, refusal.retry_after_seconds] == expected


def test_only_two_errors_of_the_api_say_when_to_come_back() -> None:
    """A client sleeps through Retry-After in full: a small number, and only where it is known.

    One more is that of the dashboard's login, for browsers alone.
    """
    waits = {
        kind.code: kind.retry_after_seconds for kind in Refusal.__subclasses__() if kind.retry_after_seconds is not None
    }

    assert waits.keys() == {"RATE_LIMIT_EXCEEDED", "SERVICE_UNAVAILABLE", "LOGIN_LIMIT_EXCEEDED"}
    assert all(1 <= seconds <= 5 for seconds in waits.values())


def test_403_means_one_thing() -> None:
    """Credits: clients need no code to tell. The other one is the dashboard's, for browsers alone."""
    codes = {kind.code for kind in Refusal.__subclasses__() if kind.status == 403}

    assert codes == {"INSUFFICIENT_CREDITS", "CROSS_SITE_REQUEST", "READ_ONLY_VIEW"}


def test_tasks_fail_with_the_contracts_words() -> None:
    """After the last attempt, and without credits when their turn comes."""
    assert Failure(code="INTERNAL_SERVER_ERROR", message="Maximum retries exceeded") == EXHAUSTED
    assert Failure(code="INSUFFICIENT_CREDITS", message="Insufficient credits") == UNPAID
