"""What is sent again, when, and what never is."""

import json
from collections.abc import Iterable

import pytest

from fairlane.client import (
    ApiError,
    Client,
    ConcurrencyExceeded,
    NoAnswer,
    RateLimitExceeded,
    ServerFailed,
    ServerUnavailable,
    ValidationFailed,
)
from fairlane.client.effects import Response
from fairlane.client.retrying import api_error, pause_seconds
from tests.client.scripted import STATUS, Asked, Reply, ScriptedServer, a_task, refused

KEY = "sk_live_1234567890abcdef1234567890abcdef"
FINE = Reply(200, STATUS)
BUSY = Reply(503, refused("SERVICE_UNAVAILABLE"), {"Retry-After": "2"})
CONCURRENCY = Reply(429, refused("CONCURRENCY_LIMIT_EXCEEDED", details={"limit": 1}))


def asked_of(replies: Iterable[Reply], pauses: list[float], *, retries: int = 5) -> tuple[ScriptedServer, Client]:
    """A server with a script and a client whose pauses are only noted."""
    server = ScriptedServer(replies)
    return server, Client(server.address, KEY, retries=retries, sleep=pauses.append)


@pytest.mark.parametrize(
    ("replies", "pauses"),
    [
        ([FINE], []),
        ([BUSY, FINE], [2.0]),
        ([Reply(429, refused("RATE_LIMIT_EXCEEDED"), {"Retry-After": "1"}), FINE], [1.0]),
        ([Reply(503, b"<html>", {"Retry-After": "3600"}), FINE], [60.0]),
        ([BUSY, BUSY, BUSY, BUSY, BUSY, FINE], [2.0] * 5),
    ],
)
def test_retry_after_is_honoured(replies: list[Reply], pauses: list[float]) -> None:
    """To the second, but never longer than a minute at once."""
    noted: list[float] = []
    server, client = asked_of(replies, noted)

    with server, client:
        assert client.status().queued_tasks == 3

    assert noted == pauses


@pytest.mark.parametrize("value", ["", "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "1.5", "٣"])
def test_a_retry_after_that_says_nothing_is_passed_over(value: str) -> None:
    """The client's own pause holds then."""
    noted: list[float] = []
    server, client = asked_of([Reply(503, b"", {"Retry-After": value} if value.isascii() else {}), FINE], noted)

    with server, client:
        client.status()

    assert 0.125 <= noted[0] <= 0.25


def test_a_retry_after_with_a_date_counts_from_the_answers_own() -> None:
    """So that a clock that is wrong on either side does no harm."""
    headers = {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}

    assert api_error(Response(503, headers, b"")).retry_after_seconds == 30
    assert api_error(Response(503, {**headers, "date": "soon"}, b"")).retry_after_seconds is None


def test_a_refused_field_is_named_in_the_text() -> None:
    """As the API lists it, alone or in a batch."""
    places = [{"field": "payload.text", "message": "must be a string"}, {"field": "x", "message": "is unknown"}]
    body = json.dumps(refused("VALIDATION_ERROR", "Request validation failed", places)).encode()

    said = str(api_error(Response(400, {}, body)))

    assert said == "VALIDATION_ERROR: Request validation failed: payload.text must be a string (and 1 more)"
    assert str(api_error(Response(404, {}, json.dumps(refused("NO", "no")).encode()))) == "NO: no"


def test_pauses_double_up_to_a_bound() -> None:
    """A quarter of a second, half, one, … eight, half of it by chance."""
    lost = NoAnswer("gone", sent=True)

    assert [pause_seconds(lost, number, 1.0) for number in (1, 2, 3, 6, 7, 1000)] == [0.25, 0.5, 1.0, 8.0, 8.0, 8.0]
    assert pause_seconds(lost, 1, 0.0) == 0.125


def test_after_its_retries_the_client_raises_what_came_last() -> None:
    """So many and no more; without retries none."""
    for retries in (0, 2):
        noted: list[float] = []
        server, client = asked_of([BUSY], noted, retries=retries)
        with server, client, pytest.raises(ServerUnavailable) as raised:
            client.status()
        assert (len(server.asked), len(noted)) == (retries + 1, retries)
        assert raised.value.retry_after_seconds == 2


@pytest.mark.parametrize("first", [Reply(0), Reply(500, b"oops"), Reply(502, b""), Reply(504, b"")])
def test_a_task_is_submitted_again_under_the_same_key_when_its_answer_is_lost(first: Reply) -> None:
    """Even if the caller gave no key; a 409 then means that the first one arrived."""
    server, client = asked_of([first, Reply(409, refused("RESOURCE_ALREADY_EXISTS")), Reply(200, a_task())], [])

    with server, client:
        made = client.submit("ANY", {})

    first_sent, second_sent, looked = server.asked
    assert made.id == "t1"
    assert first_sent.body == second_sent.body
    assert looked.method == "GET"
    assert looked.path.rpartition("/")[2].encode() in first_sent.body


@pytest.mark.parametrize("reply", [Reply(400, refused("VALIDATION_ERROR")), CONCURRENCY, Reply(418, b"teapot")])
def test_a_no_that_stays_a_no_is_not_asked_again(reply: Reply) -> None:
    """It is raised at once."""
    server, client = asked_of([reply], [])

    with server, client, pytest.raises(ApiError):
        client.status()

    assert len(server.asked) == 1


@pytest.mark.parametrize("lost", [Reply(0), Reply(500, b""), Reply(504, b"")])
def test_a_call_is_never_run_twice(lost: Reply) -> None:
    """Nobody knows whether it ran, so it is not sent again."""
    server, client = asked_of([lost, Reply(200, {"success": True, "result": {}})], [])

    with server, client, pytest.raises((NoAnswer, ServerFailed)):
        client.call("page", {})

    assert len(server.asked) == 1


def test_a_call_that_was_surely_not_run_is_sent_again() -> None:
    """503 and the per-second limit come before anything is done."""
    answer = Reply(200, {"success": True, "result": {"n": 1}}, {"X-Credits-Charged": "3", "X-Credits-Remaining": "97"})
    server, client = asked_of([BUSY, Reply(429, refused("RATE_LIMIT_EXCEEDED")), answer], [])

    with server, client:
        called = client.call("google/news", {"query": "x"})

    assert [asked.path for asked in server.asked] == ["/v1/monitor/google/news"] * 3
    assert (called.result, called.credits_charged, called.credits_remaining) == ({"n": 1}, 3, 97)


def test_nobody_there_is_asked_again_even_for_a_call() -> None:
    """A connection that was refused carried nothing."""
    noted: list[float] = []
    with ScriptedServer([FINE]) as server:
        address = server.address
    with Client(address, KEY, retries=2, sleep=noted.append) as client, pytest.raises(NoAnswer) as raised:
        client.call("page", {})

    assert raised.value.sent is False
    assert len(noted) == 2


@pytest.mark.parametrize(
    ("body", "raised"), [(b"", NoAnswer), (b"[]", NoAnswer), (b"\xff", NoAnswer), (b'{"queuedTasks": "3"}', NoAnswer)]
)
def test_an_answer_that_makes_no_sense_is_no_answer(body: bytes, raised: type[Exception]) -> None:
    """Never an exception of the JSON reader."""
    server, client = asked_of([Reply(200, body)], [])

    with server, client, pytest.raises(raised, match="cannot read the answer"):
        client.status()


def test_an_error_without_an_envelope_is_told_as_it_came() -> None:
    """As a proxy answers: the status is the code."""
    server, client = asked_of([Reply(401, b"<h1>who?</h1>"), Reply(429, b"slow down"), Reply(400, b"")], [])

    with server, client:
        with pytest.raises(ApiError, match="HTTP_401: <h1>who"):
            client.status()
        with pytest.raises(ApiError, match="HTTP_429: slow down") as limited:
            client.status()
        with pytest.raises(ValidationFailed, match="no explanation"):
            client.status()

    assert not isinstance(limited.value, RateLimitExceeded | ConcurrencyExceeded)


def test_fields_that_a_newer_server_adds_are_ignored() -> None:
    """Additions may come at any time."""
    body = {**STATUS, "more": 1, "concurrency": {"used": 2, "max": 5, "reserved": 0}}
    server, client = asked_of([Reply(200, body), Reply(200, a_task(status="PAUSED", more=[1]))], [])

    with server, client:
        assert client.status().queued_tasks == 3
        assert client.task("t1").done is False


def test_a_path_in_the_address_is_kept() -> None:
    """For servers behind a prefix; the key goes into the one header and nowhere else."""
    with ScriptedServer([FINE]) as server, Client(f"{server.address}/fair/lane/", KEY) as client:
        client.status()
    (asked,) = server.asked

    assert asked.path == "/fair/lane/v1/async/status"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in asked.path
    assert asked.headers["User-Agent"].startswith("fairlane-python/")


def test_a_server_that_does_not_wait_is_asked_ever_less_often() -> None:
    """Pauses grow; the wish to wait is sent all the same."""
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        asked.append(request)
        return Reply(200, a_task(status="COMPLETED" if len(asked) == 6 else "PROCESSING", response={"n": 1}))

    noted: list[float] = []
    with ScriptedServer(answer) as server, Client(server.address, KEY, sleep=noted.append) as client:
        assert client.wait("t1").response == {"n": 1}

    assert noted == sorted(noted)
    assert len(noted) == 5
    assert {request.headers["Prefer"] for request in asked} == {"wait=20"}
