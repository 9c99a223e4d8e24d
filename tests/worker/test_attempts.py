"""How attempts run and end, in real worker processes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from fairlane.protocol import ReportBody, result_text
from fairlane.worker.supervisor import Supervisor
from tests.worker.conftest import a_worker, eventually
from tests.worker.fake_server import FakeServer


@pytest.fixture(scope="module")
async def worker(short_directory: Path) -> AsyncIterator[tuple[FakeServer, Supervisor]]:
    """One worker process for all of these tests: none of them ends it."""
    async with a_worker(short_directory) as both:
        yield both
        assert not both[0].ended


@pytest.fixture
def server(worker: tuple[FakeServer, Supervisor]) -> FakeServer:
    return worker[0]


@pytest.fixture
def supervisor(worker: tuple[FakeServer, Supervisor]) -> Supervisor:
    return worker[1]


async def report_of(server: FakeServer, task_type: str, payload: object = None, *, timeout: float = 30.0) -> ReportBody:
    lease = server.put(task_type, payload, timeout=timeout)
    await server.changed()
    await eventually(lambda: lease in server.reports)
    return server.reports[lease]


def result_of(report: ReportBody) -> dict:
    assert report.outcome == "completed", report
    return msgspec.json.decode(bytes(report.result))


async def test_handlers_of_every_kind_run_with_payload_and_context(server: FakeServer, supervisor: Supervisor) -> None:
    """On the loop, on a thread and in a process of its own, after the start hooks of that process."""
    pid = supervisor.children[0].pid

    on_loop = result_of(await report_of(server, "ADD", {"n": 1}))
    on_thread = result_of(await report_of(server, "ADD_THREAD", {"n": 1}))
    alone = result_of(await report_of(server, "ADD_ISOLATED", {"n": 1}))
    again = result_of(await report_of(server, "ADD_ISOLATED", {"n": 2}))

    assert on_loop == {"n": 2, "attempt": 1, "started": str(pid), "pid": pid}
    assert on_thread == {"n": 2, "thread": "fairlane-handler"}
    assert alone["started"] == str(alone["pid"])
    assert alone["parent"] == pid
    assert again["n"] == 3
    assert again["pid"] == alone["pid"], "an isolated process is reused"


@pytest.mark.parametrize("task_type", ["VARIABLE", "VARIABLE_THREAD"])
async def test_context_variables_of_one_attempt_are_unseen_by_the_next(
    server: FakeServer, supervisor: Supervisor, task_type: str
) -> None:
    """Each begins with what the start hooks set."""
    seen = [result_of(await report_of(server, task_type, {"n": number}))["before"] for number in range(3)]

    assert seen == ["started"] * 3


async def test_payload_that_no_longer_fits_fails_for_good(server: FakeServer, supervisor: Supervisor) -> None:
    """The handler is not called; the organization learns which field."""
    for task_type in ("ADD", "ADD_THREAD", "ADD_ISOLATED"):
        report = await report_of(server, task_type, {"n": "5"})

        assert (report.outcome, report.retry) == ("failed", False)
        assert report.failure is not None
        assert report.failure.code == "VALIDATION_ERROR"
        assert report.failure.details == [{"field": "payload.n", "message": "Expected `int`, got `str`"}]


async def test_signals_and_exceptions_become_reports(server: FakeServer, supervisor: Supervisor) -> None:
    """Retry pauses, Fail tells the organization, anything else tells only the operator; even SystemExit is data."""
    retry = await report_of(server, "RETRY")
    fail = await report_of(server, "FAIL")
    raised = await report_of(server, "RAISE")
    left = await report_of(server, "EXIT")

    assert (retry.retry, retry.pause_seconds, retry.failure) == (True, 7.0, None)
    assert fail.retry is False
    assert fail.failure is not None
    assert (fail.failure.code, fail.failure.details) == ("NO_SUCH_PAGE", {"page": 7})
    assert (raised.retry, raised.failure) == (True, None)
    assert re.fullmatch(r"KeyError: 'boom.*'\nat \S+:raise_, line \d+", raised.cause)
    assert re.fullmatch(r"SystemExit: 9\nat \S+:exit_?, line \d+", left.cause)
    assert [(one.origin.exception, one.origin.place.partition(":")[2]) for one in (retry, fail, raised, left)] == [  # type: ignore[union-attr]
        ("Retry", "retry"),
        ("Fail", "fail"),
        ("KeyError", "raise_"),
        ("SystemExit", "exit_"),
    ]
    assert len(server.registered) == 1, "the worker process lived through all of it"


@pytest.mark.parametrize("task_type", ["CANCEL_ALL", "CANCEL_ALL_ISOLATED"])
async def test_a_handler_that_cancels_all_tasks_cancels_only_those_of_handlers(
    server: FakeServer, supervisor: Supervisor, task_type: str, tmp_path: Path
) -> None:
    """The worker's exchanges go on, and so do attempts beside it, on the loop and in a process of their own."""
    payload = {"track": str(tmp_path / "track"), "until": str(tmp_path / "gate")}
    beside = [server.put("WAIT", payload), server.put("PROGRESS_ISOLATED", payload)]
    await server.changed()
    await eventually((tmp_path / "track").exists)

    first = result_of(await report_of(server, task_type))
    second = result_of(await report_of(server, task_type))
    assert not set(beside) & set(server.reports)
    (tmp_path / "gate").touch()
    await eventually(lambda: set(beside) <= set(server.reports))

    assert first == second == {"found": ["background"], "canceled": True}
    assert {server.reports[lease].outcome for lease in beside} == {"completed"}
    assert len(server.registered) == 1


@pytest.mark.parametrize(("task_type", "code"), [("NAN", "RESULT_NOT_SERIALIZABLE"), ("LARGE", "RESULT_TOO_LARGE")])
async def test_result_that_cannot_be_kept_fails_its_own_task(
    server: FakeServer, supervisor: Supervisor, task_type: str, code: str
) -> None:
    """With a clear code, and without another attempt."""
    report = await report_of(server, task_type)

    assert report.failure is not None
    assert (report.failure.code, report.retry) == (code, False)


@pytest.mark.parametrize("task_type", ["HALF", "HALF_ISOLATED"])
async def test_half_a_surrogate_pair_is_an_escape(server: FakeServer, supervisor: Supervisor, task_type: str) -> None:
    """It completes; the report has the text in a string, because no reader of reports takes the escape."""
    report = await report_of(server, task_type)

    assert report.outcome == "completed"
    assert bytes(report.result).startswith(b'"')
    assert result_text(report.result) == rb'{"x":"\ud800","y":"\u00e9"}'


async def test_handler_past_its_deadline_is_ended(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """An async handler is canceled; a def handler sees the flag. Both count and may be tried again."""
    for task_type in ("WAIT", "WAIT_THREAD"):
        track = tmp_path / task_type
        report = await report_of(
            server, task_type, {"track": str(track), "until": str(tmp_path / "never")}, timeout=0.15
        )

        assert (report.outcome, report.cause, report.reason, report.retry) == ("failed", "timeout", "overdue", True)
        assert track.read_text().split() == ["began", "canceled"]


async def test_canceled_attempt_ends_for_good(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """A cancellation arrives although no place has to be free for it."""
    track = tmp_path / "track"
    payload = {"track": str(track), "until": str(tmp_path / "never")}
    leases = [server.put("WAIT", payload) for _ in range(4)]
    await server.changed()
    await eventually(lambda: track.exists() and track.read_text().count("began") == 4)

    server.cancel = [leases[2]]
    await server.changed()
    await eventually(lambda: leases[2] in server.reports)

    report = server.reports[leases[2]]
    assert (report.outcome, report.cause, report.retry) == ("failed", "canceled", False)
    assert set(server.leases) == set(leases) - {leases[2]}
    (tmp_path / "never").touch()
    await eventually(lambda: not server.leases)


async def test_unknown_task_type_is_reported(server: FakeServer, supervisor: Supervisor) -> None:
    """Another release of the application may know it: it is tried again."""
    report = await report_of(server, "NO_SUCH_TYPE")

    assert (report.outcome, report.retry) == ("failed", True)


async def test_crash_of_an_isolated_process_loses_one_attempt(server: FakeServer, supervisor: Supervisor) -> None:
    """It counts, and the worker process goes on."""
    report = await report_of(server, "CRASH_ISOLATED")
    after = result_of(await report_of(server, "ADD_ISOLATED", {"n": 1}))

    assert (report.outcome, report.retry, report.reason, report.cause[:4]) == ("failed", True, "lost", "lost")
    assert after["n"] == 2
