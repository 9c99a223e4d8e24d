"""Crashes, a broken store, a full disk, a drain: what callers see, and what the log says."""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlane.api.serving import DiskFloor
from fairlane.errors import StoreFault
from fairlane.store import upkeep
from tests.api.house import House, error_of

SECRET = "xyzzy-internal-detail"


def test_a_crash_is_one_generic_answer_and_one_log_line(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The id in the header is the id in the log; nothing of the cause reaches the caller; the next request works."""
    customer = house.customer()

    async def broken(organization_id: int) -> None:
        raise RuntimeError(SECRET)

    with monkeypatch.context() as patch:
        patch.setattr(house.store.tasks, "status", broken)
        answer = customer.client.get("/v1/async/status")

    assert answer.status_code == 500
    error = error_of(answer)
    assert (error["code"], error["message"]) == ("INTERNAL_SERVER_ERROR", "Internal server error")
    assert "details" not in error
    assert SECRET not in answer.text
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "request.failed"
    assert vars(record)["request_id"] == answer.headers["x-request-id"]
    assert SECRET in str(record.exc_info)
    assert customer.status()["queuedTasks"] == 0


@pytest.mark.parametrize("verb", ["keys.caller", "tasks.submit", "tasks.find", "tasks.status"])
def test_a_broken_store_is_503(house: House, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """With Retry-After, on every route, and no word about the cause; it recovers by itself."""
    customer = house.customer()

    async def broken(*_: object, **__: object) -> None:
        raise StoreFault(SECRET)

    with monkeypatch.context() as patch:
        noun, _, method = verb.partition(".")
        patch.setattr(getattr(house.store, noun), method, broken)
        answers = [customer.client.get("/v1/async/status"), customer.submit(), customer.find("x")]

    failed = [answer for answer in answers if answer.status_code == 503]
    assert len(failed) == (3 if verb == "keys.caller" else 1)
    for answer in failed:
        assert error_of(answer)["code"] == "SERVICE_UNAVAILABLE"
        assert answer.headers["retry-after"] == "2"
        assert SECRET not in answer.text
    assert customer.submit().status_code == 200


def test_a_store_that_does_not_answer_is_not_ready_but_alive(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness waits a second at most; liveness asks nobody."""

    async def broken() -> None:
        raise StoreFault(SECRET)

    monkeypatch.setattr(house.store.upkeep, "ping", broken)
    with house.client() as client:
        assert client.get("/livez").status_code == 200
        answer = client.get("/readyz")

    assert answer.status_code == 503
    assert error_of(answer)["code"] == "SERVICE_UNAVAILABLE"


def test_while_draining_only_new_work_is_refused(house: House) -> None:
    """Status and tasks are still answered; readiness is gone."""
    customer = house.customer()
    task_id = customer.accepted()

    house.soon(house.server.drain)
    submitted = customer.submit()

    assert submitted.status_code == 503
    assert error_of(submitted)["message"] == "Service unavailable"
    assert 1 <= int(submitted.headers["retry-after"]) <= 5
    assert customer.find(task_id).status_code == 200
    assert customer.status()["queuedTasks"] == 1
    assert customer.client.get("/livez").status_code == 200
    assert customer.client.get("/readyz").status_code == 503
    assert house.admin.get("/admin/v1/server").json()["draining"] is True


def test_a_nearly_full_disk_refuses_new_work(a_file_house: Callable[..., House]) -> None:
    """503 for submits; everything else works."""
    house = a_file_house(free_disk_floor_bytes=2**62)
    customer = house.customer()

    assert customer.submit().status_code == 503
    assert customer.status()["queuedTasks"] == 0
    assert customer.client.get("/readyz").status_code == 503


def test_the_disk_is_looked_at_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with every submit; and space that is back is noticed. The log has its begin, its end, and a count."""
    looks, free, now = [], [0], [100.0]

    class Disk:
        f_frsize = 1

        @property
        def f_bavail(self) -> int:
            looks.append(1)
            return free[0]

    monkeypatch.setattr("os.statvfs", lambda folder: Disk())
    floor = DiskFloor(tmp_path, 10, clock=lambda: now[0])

    assert not any(floor.has_room() for _ in range(5))
    free[0] = 10
    assert not floor.has_room()
    now[0] += 1.0
    assert floor.has_room()
    assert len(looks) == 2
    assert [one.getMessage().split()[0] for one in caplog.records] == ["disk.filled", "disk.recovered"]
    assert vars(caplog.records[1])["count"] == 6


def test_a_full_disk_is_not_ready_and_one_outage(
    a_file_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the floor: submits are refused, readiness says so until there is room, and no request leaves a trace in
    the log."""
    house = a_file_house(free_disk_floor_bytes=0)
    # A small write of upkeep may succeed between the large ones, whatever time they take.
    monkeypatch.setattr(house.store.shared.database.writer.full, "_quiet_seconds", 3_600.0)
    monkeypatch.setattr(upkeep, "TRIAL_SECONDS", 0.0)
    customer, writer = house.customer(), house.store.shared.database.writer.connection
    writer.pragma("max_page_count", writer.pragma("page_count"))
    large = {"text": "x" * 10_000}

    refused = [customer.submit(payload=large) for _ in range(10)]
    with house.client() as client:
        ready, alive = client.get("/readyz"), client.get("/livez")
    writer.pragma("max_page_count", 2**30)
    monkeypatch.setattr(house.store.shared.database.writer.full, "_quiet_seconds", 0.0)
    with house.client() as client:
        again = client.get("/readyz")

    assert [one.status_code for one in refused][-5:] == [503] * 5
    assert (ready.status_code, alive.status_code, again.status_code) == (503, 200, 200)
    assert customer.submit(payload=large).status_code == 200
    serious = [one.getMessage().split()[0] for one in caplog.records if one.levelno >= logging.WARNING]
    assert serious == ["disk.filled", "disk.recovered"]
    assert not [one for one in caplog.records if one.exc_info]


def test_a_caller_that_hangs_up_while_sending_is_nobodys_fault(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is queued, nothing is logged."""
    customer = house.customer()
    host, port = house.server.address.removeprefix("http://").split(":")
    head = f"POST /v1/async/task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {customer.key['value']}\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())

    assert customer.status()["queuedTasks"] == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_nothing_secret_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Keys, payloads and results stay out of the log, whatever happens to them."""
    caplog.set_level(logging.DEBUG, logger="fairlane")
    customer, session = house.customer(), house.session("ANY")
    customer.accepted(payload={"canary": SECRET})
    [lease] = session.claim(1)
    session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {"canary": SECRET}})
    customer.send(f'{{"taskType": "ANY", "payload": {{"{SECRET}": NaN}}}}'.encode())

    text = "\n".join(str(vars(record)) for record in caplog.records if record.name.startswith("fairlane"))
    assert SECRET not in text
    assert customer.key["value"] not in text
