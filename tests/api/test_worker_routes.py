"""The worker protocol over its socket: sessions, reports, and refusals."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fairlane.api.worker import PIECE_BYTES, in_pieces, lease_body
from fairlane.model.leases import Lease
from fairlane.protocol import PLACES_MOST, ExchangeAnswer, encode
from tests.api.house import House, error_of, eventually, fields_of


def test_a_session_is_told_its_timing(house: House) -> None:
    """As the settings say."""
    answer = house.worker.post("/worker/v1/sessions", json={"name": "host/1", "types": ["ANY"], "places": 3}).json()

    assert (answer["lease_seconds"], answer["renew_seconds"]) == (30.0, 10.0)
    assert list(answer) == ["session", "lease_seconds", "renew_seconds"]


def test_failed_starts_are_shown_until_a_worker_registers(house: House) -> None:
    """On the operators' overview and in a list; a wrong report is refused by its field."""
    named = {"host": "build-7", "application": "shop:app", "cause": "it raised", "version": "1"}
    report = {"supervisor": "s", "number": 1} | named
    answers = [house.worker.post("/worker/v1/failed-starts", json=report) for _ in range(2)]
    refused = [
        house.worker.post("/worker/v1/failed-starts", json=report | {field: value})
        for field, value in {"cause": "x" * 1_001, "host": "", "application": "", "failures": -1, "number": 0}.items()
    ]

    assert [(one.status_code, one.json()) for one in answers] == [(200, {})] * 2
    assert [fields_of(one) for one in refused] == [["cause"], ["host"], ["application"], ["failures"], ["number"]]
    [failed] = house.admin.get("/admin/v1/failed-starts").json()["failed_starts"]
    assert {name: failed[name] for name in ("host", "application", "key", "cause", "version", "failures")} == {
        "host": "build-7", "application": "shop:app", "key": None, "cause": "it raised", "version": "1", "failures": 1,
    }  # fmt: skip
    told = eventually(lambda: house.admin.get("/admin/v1/overview").json()["troubles"])
    assert [one["message"] for one in told] == ["No worker of shop:app can start on build-7: it raised"]
    started = {"name": "build-7/3", "types": ["ANY"], "places": 1, "application": "shop:app"}
    house.worker.post("/worker/v1/sessions", json=started | {"supervisor": "s", "reports": 1})
    assert house.worker.post("/worker/v1/failed-starts", json=report).status_code == 200
    assert house.admin.get("/admin/v1/failed-starts").json() == {"failed_starts": []}


def test_a_lease_has_all_a_worker_needs(house: House) -> None:
    """Once, with the payload as it was sent."""
    customer, session = house.customer(), house.session("PAGE")
    task_id = customer.accepted("PAGE", {"url": "a"})

    [lease] = session.claim(5)

    assert lease.pop("lease")
    assert lease == {
        "task": task_id,
        "organization": customer.name,
        "task_type": "PAGE",
        "attempt": 1,
        "attempts": 2,
        "timeout_seconds": 300.0,
        "payload": {"url": "a"},
        "call": False,
    }


def a_lease(number: int, size: int) -> Lease:
    """A lease with a payload of this size."""
    return Lease(
        id=f"lease-{number}", task_id=f"task-{number}", organization_id=1, organization="acme", task_type="ANY",
        payload='{"a":"' + "x" * (size - 8) + '"}', attempt=1, attempts=3, timeout_ms=1_000, started_at=0,
    )  # fmt: skip


@pytest.mark.parametrize("sizes", [[], [10], [1_000_000], [1_000] * 400, [700_000, 10, 700_000, 10, 10, 300_000]])
async def test_a_large_answer_is_written_in_pieces_between_which_others_have_their_turn(sizes: list[int]) -> None:
    """It is the same text; no piece has more than one payload beyond its size."""
    turns = 0

    async def neighbour() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    answer = ExchangeAnswer(verdicts=["accepted", "gone"], cancel=["lease-9"], kept=2, kept_by="4")
    leases = [a_lease(number, size) for number, size in enumerate(sizes)]
    beside = asyncio.create_task(neighbour())
    pieces, seen = [], []
    async for piece in in_pieces(answer, leases):
        pieces.append(piece)
        seen.append(turns)
    beside.cancel()

    answer.leases = [lease_body(lease) for lease in leases]
    assert b"".join(pieces) == encode(answer)
    assert max(map(len, pieces)) <= PIECE_BYTES + max(sizes, default=0) + 1_000
    assert sorted(set(seen)) == seen, "no turn between two pieces"


def test_a_large_answer_arrives_whole(house: House) -> None:
    """With every payload as it was sent."""
    customer, session = house.customer(slots=3), house.session("ANY", places=5)
    payloads = [{"a": letter * 300_000} for letter in "abc"]
    for payload in payloads:
        customer.accepted("ANY", payload)

    answer = session.exchange(5)

    assert [lease["payload"] for lease in answer.json()["leases"]] == payloads
    assert answer.headers["content-type"] == "application/json"


def report(lease: dict[str, Any], **ending: Any) -> dict[str, Any]:
    """What became of a lease."""
    return {"lease": lease["lease"]} | ending


def test_a_result_is_kept_byte_for_byte(house: House) -> None:
    """And shown as the response, not wrapped."""
    customer, session = house.customer(), house.session("ANY")
    task_id = customer.accepted()
    [lease] = session.claim(1)

    body = b'{"session":"%s","id":"x","places":0,"reports":[{"lease":"%s","outcome":"completed","result":%s}]}'
    result = b'{ "b": 1.50, "a": "\xc3\xa9\\u00e9" }'
    sent = body % (session.id.encode(), lease["lease"].encode(), result)
    house.worker.post("/worker/v1/exchange", content=sent)

    answer = customer.find(task_id)
    assert answer.json()["task"]["status"] == "COMPLETED"
    assert b'"response":%s}' % result in answer.content


def test_a_report_sent_twice_is_settled_once(house: House) -> None:
    """The second time gets the same verdict, and changes nothing."""
    customer, session = house.customer(), house.session("ANY")
    task_id = customer.accepted()
    [lease] = session.claim(1)

    first = session.exchange(0, report(lease, outcome="completed", result={"n": 1})).json()
    second = session.exchange(0, report(lease, outcome="completed", result={"n": 2})).json()

    assert (first["verdicts"], second["verdicts"]) == (["accepted"], ["accepted"])
    assert customer.find(task_id).json()["response"] == {"n": 1}


def test_a_failure_shows_what_the_handler_chose(house: House) -> None:
    """Code, message and details; the cause stays with the operator."""
    customer, session = house.customer(), house.session("ANY")
    task_id = customer.accepted()
    [lease] = session.claim(1)

    shown = {"code": "TOO_BIG", "message": "It is too big", "details": {"size": 5}}
    session.exchange(0, report(lease, outcome="failed", cause="secret", failure=shown, retry=False))

    answer = customer.find(task_id)
    assert answer.json()["task"]["status"] == "FAILED"
    assert answer.json()["response"] == {"error": shown}
    assert answer.json()["credits"]["creditsCharged"] == 0
    assert "secret" not in answer.text


def test_a_released_lease_does_not_count(house: House) -> None:
    """The task is queued again, and its next attempt is still the first."""
    customer, session = house.customer(), house.session("ANY")
    customer.accepted()
    [lease] = session.claim(1)

    [again] = session.claim(1, report(lease, outcome="released"))

    assert again["attempt"] == 1
    assert again["lease"] != lease["lease"]


def test_a_retry_waits_for_its_pause_and_no_longer(house: House) -> None:
    """A pause far below the poll is kept to."""
    customer, session = house.customer(), house.session("ANY")
    customer.accepted()
    [lease] = session.claim(1)
    session.exchange(0, report(lease, outcome="failed", cause="x", pause_seconds=0.05))

    answer = session.exchange(1, wait_seconds=0.9).json()

    assert [lease["attempt"] for lease in answer["leases"]] == [2]
    assert customer.status()["processingTasks"] == 1


def test_renewing_returns_what_the_worker_never_received(a_house: Callable[..., House]) -> None:
    """After a session's lease, and refunded: its next attempt is the first again. What it holds stays."""
    house = a_house(lease_seconds=0.3, renew_seconds=0.1, sweep_seconds=3600)
    customer, session = house.customer(slots=2), house.session("ANY")
    customer.accepted()
    customer.accepted()
    [held, lost] = session.claim(2)

    def renewed() -> list[dict[str, Any]]:
        session.renew([held["lease"]], [])
        return session.claim(1)

    [again] = eventually(renewed)

    assert (again["task"], again["attempt"]) == (lost["task"], 1)
    assert session.renew([held["lease"], again["lease"]], []).json() == {"cancel": []}
    assert customer.status()["processingTasks"] == 2


@pytest.mark.parametrize(("reason", "attempt"), [("drained", 1), ("lost", 2), ("overdue", 1)])
def test_ending_a_session_returns_its_leases(house: House, reason: str, attempt: int) -> None:
    """Whether the attempt counts is the reason's business."""
    customer, session = house.customer(), house.session("ANY")
    customer.accepted()
    session.claim(1)

    answer = session.end(reason)

    assert answer.json() == {"returned": 1}
    [again] = house.session("ANY").claim(1)
    assert again["attempt"] == attempt
    assert session.exchange(1).status_code == 410
    assert session.renew([], []).status_code == 410
    assert customer.status()["concurrency"]["used"] == 1


def exchange_with(**ending: Any) -> dict[str, Any]:
    """An exchange with one report."""
    return {"session": "s", "id": "x", "places": 0, "reports": [{"lease": "x"} | ending]}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("sessions", {"name": "x", "types": ["ANY"], "places": 0}, "places"),
        ("sessions", {"name": "x", "types": ["ANY"], "places": PLACES_MOST + 1}, "places"),
        ("sessions", {"name": "x", "types": [], "places": 1}, "types"),
        ("sessions", {"name": "x", "types": "ANY", "places": 1}, "types"),
        ("sessions", {"name": "x", "types": ["ANY"], "places": 1, "more": 1}, "more"),
        ("sessions", {"name": "x", "types": ["ANY"], "places": 1, "version": "1\x1b[2J"}, "version"),
        ("failed-starts", {"supervisor": "x", "number": 1, "host": "x", "application": "x", "cause": "x\ny"}, "cause"),
        (
            "failed-starts",
            {"supervisor": "x", "number": 1, "host": "x", "application": "x", "cause": "x", "version": "\x1b[2J"},
            "version",
        ),
        ("exchange", {"session": "s", "id": "x", "places": -1}, "places"),
        ("exchange", {"session": "s", "id": "x", "places": "1"}, "places"),
        ("exchange", {"session": "s", "id": "x", "places": 1, "reports": [{"lease": "1"}]}, "reports[0].outcome"),
        ("exchange", exchange_with(outcome="lost"), "reports.outcome"),
        ("exchange", exchange_with(outcome="completed"), "reports.result"),
        ("exchange", exchange_with(outcome="completed", result=[]), "reports.result"),
        ("exchange", exchange_with(outcome="completed", result="[]"), "reports.result"),
        ("exchange", exchange_with(outcome="completed", result='{"a":'), "reports.result"),
        ("exchange", exchange_with(outcome="completed", result='{"a":' * 100_000), "reports.result"),
        ("exchange", exchange_with(outcome="failed", pause_seconds=-1), "reports.pause_seconds"),
    ],
)
def test_a_message_that_makes_no_sense_is_refused(shared: House, path: str, body: dict[str, Any], field: str) -> None:
    """400 with the field."""
    answer = shared.worker.post(f"/worker/v1/{path}", json=body)

    assert answer.status_code == 400
    assert fields_of(answer) == [field]


def test_an_unknown_session_is_gone(shared: House) -> None:
    """410: the worker has to register anew."""
    body = {"session": "nobody", "id": "x", "places": 1}

    answer = shared.worker.post("/worker/v1/exchange", json=body)

    assert answer.status_code == 410
    assert error_of(answer)["code"] == "SESSION_GONE"


def test_the_worker_socket_serves_nothing_else(shared: House) -> None:
    """Neither customers nor operators."""
    for path in ("/v1/async/status", "/admin/v1/organizations", "/worker/v1/nope", "/livez"):
        answer = shared.worker.get(path)
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "RESOURCE_NOT_FOUND"
