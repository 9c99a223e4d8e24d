"""Canceling over HTTP, and how workers are told: at once, again, and by whichever server they talk to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from fairlane.api import parking
from tests.api.house import Customer, House, Session, error_of, eventually
from tests.builders import lose_hints


@pytest.fixture
def threads(house: House) -> Iterator[ThreadPoolExecutor]:
    """Requests that wait need threads of their own; at the end, whoever still waits is let go."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
        house.soon(house.server.drain)


def cancel(customer: Customer, reference: str) -> httpx2.Response:
    """Cancel one task."""
    return customer.client.request("DELETE", f"/v1/async/task/{reference}")


def is_parked(session: Session) -> bool:
    """Whether an exchange of this session waits."""
    return session.id in session.house.server.parking.parked()


def running(house: House) -> tuple[Customer, Session, str, str]:
    """A task that runs: (customer, session, task, lease)."""
    customer, session = house.customer(), house.session("ANY")
    task_id = customer.accepted()
    (lease,) = session.claim(1)
    return customer, session, task_id, lease["lease"]


def test_a_queued_task_is_canceled(customer: Customer) -> None:
    """At once, by its key, percent-encoded: the answer is what GET answers, and that it succeeded."""
    customer.accepted(idempotencyKey="a/b c")

    answer = cancel(customer, "a%2Fb%20c")

    body = answer.json()
    assert answer.status_code == 200
    assert body.pop("success") is True
    assert body == customer.find("a%2Fb%20c").json()
    assert body["task"]["status"] == "FAILED"
    assert body["credits"]["creditsCharged"] == 0
    assert body["response"]["error"] == {"code": "TASK_CANCELED", "message": "Task was canceled"}
    assert customer.status()["queuedTasks"] == 0


def test_what_ended_is_refused(house: House) -> None:
    """409 with how it ended; what was canceled before is answered again."""
    customer, session, task_id, lease = running(house)
    session.exchange(0, {"lease": lease, "outcome": "completed", "result": {}})
    other = customer.accepted()

    refused, first, again = cancel(customer, task_id), cancel(customer, other), cancel(customer, other)

    assert refused.status_code == 409
    error = error_of(refused)
    assert (error["code"], error["details"]) == ("TASK_ENDED", {"id": task_id, "status": "COMPLETED"})
    assert first.json() == again.json()


def test_an_unknown_task_is_not_found(shared: House, customer: Customer) -> None:
    """As another organization's is not."""
    other = shared.customer()
    with other.client:
        theirs = other.accepted()

        for reference in ("nothing", theirs, "x" * 300):
            answer = cancel(customer, reference)
            assert (answer.status_code, error_of(answer)["message"]) == (404, "Task not found")
        assert other.find(theirs).json()["task"]["status"] == "QUEUED"


@pytest.mark.usefixtures("nobody_looks")
def test_a_waiting_worker_is_told_at_once(house: House, threads: ThreadPoolExecutor) -> None:
    """It need not look, although none of its places is free; what it reports then ends the task."""
    customer, session, task_id, lease = running(house)
    waiting = threads.submit(session.exchange, 0, wait_seconds=20)
    eventually(lambda: is_parked(session))

    assert cancel(customer, task_id).json()["task"]["status"] == "PROCESSING"
    answer = waiting.result(10).json()

    assert answer["cancel"] == [lease]
    session.exchange(0, {"lease": lease, "outcome": "completed", "result": {}})
    assert customer.find(task_id).json()["response"]["error"]["code"] == "TASK_CANCELED"


def test_a_worker_that_comes_later_is_told_when_it_comes(house: House) -> None:
    """Its exchange does not wait."""
    customer, session, task_id, lease = running(house)
    cancel(customer, task_id)

    answer = session.exchange(3, wait_seconds=20)

    assert answer.json()["cancel"] == [lease]
    assert answer.elapsed.total_seconds() < 10


def test_it_is_said_again_until_the_attempt_has_ended(
    house: House, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer may be lost. But not without a pause: whoever was just told may wait."""
    monkeypatch.setattr(parking, "TELL_AGAIN_SECONDS", 0.2)
    customer, session, task_id, lease = running(house)
    cancel(customer, task_id)
    told = []
    for _ in range(3):
        answer = session.exchange(0, wait_seconds=20)
        told.append((answer.json()["cancel"], answer.elapsed.total_seconds()))

    session.exchange(0, {"lease": lease, "outcome": "failed"})
    after = session.exchange(0, wait_seconds=1.5)

    assert [leases for leases, _ in told] == [[lease]] * 3
    assert all(seconds > 0.1 for _, seconds in told[1:])
    assert after.json()["cancel"] == []


def test_a_wish_that_nobody_hinted_at_is_found(
    house: House, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another server was told of it."""
    monkeypatch.setattr(house.server.parking, "hint_cancels", lambda sessions: None)
    lose_hints(house.store, "canceled")
    customer, session, task_id, lease = running(house)
    waiting = threads.submit(session.exchange, 0, wait_seconds=20)
    eventually(lambda: is_parked(session))

    cancel(customer, task_id)

    assert waiting.result(10).json()["cancel"] == [lease]


def test_supervisors_hear_of_it_with_a_renewal(house: House) -> None:
    """Until it has ended."""
    customer, session, task_id, lease = running(house)
    cancel(customer, task_id)

    before = session.renew([lease], []).json()
    session.exchange(0, {"lease": lease, "outcome": "released"})

    assert before == {"cancel": [lease]}
    assert session.renew([], []).json() == {"cancel": []}
    assert customer.find(task_id).json()["task"]["status"] == "FAILED"


def test_a_failing_look_for_wishes_harms_nobody(house: House, threads: ThreadPoolExecutor, monkeypatch: Any) -> None:
    """It is logged and done again."""
    looks: list[object] = []
    store = house.server.store
    sound = store.leases.canceled

    async def failing(sessions: list[str]) -> dict[str, list[str]]:
        looks.append(sessions)
        if len(looks) == 1:
            raise OSError("no")
        return await sound(sessions)

    monkeypatch.setattr(store.leases, "canceled", failing)
    customer, session, task_id, lease = running(house)
    waiting = threads.submit(session.exchange, 0, wait_seconds=20)
    eventually(lambda: is_parked(session))

    cancel(customer, task_id)

    assert waiting.result(10).json()["cancel"] == [lease]
    assert len(looks) >= 2
