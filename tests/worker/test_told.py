"""What the log is told of an attempt that failed, and what every record of an attempt has."""

import asyncio
import logging
from typing import Any

import pytest
from msgspec import Raw

from fairlane import Fairlane, logs
from fairlane.protocol import LeaseBody, ReportBody
from fairlane.worker.executors import Executors

app = Fairlane()


@app.task("FAIL")
async def fail(payload: dict[str, Any]) -> None:
    """Raise with its payload."""
    logging.getLogger("shop").info("begun")
    raise ExceptionGroup(payload["secret"], [ValueError(payload["secret"])])


async def report_of(task_type: str, *, error_text: bool = False) -> ReportBody:
    """Run one attempt here."""
    ended: asyncio.Future[ReportBody] = asyncio.get_running_loop().create_future()
    executors = Executors(
        app.task_types, ended=ended.set_result, result_limit_bytes=1000, isolated=None, error_text=error_text
    )
    payload = Raw(b'{"secret": "canary"}')
    lease = LeaseBody(
        lease="l", task="t", organization="acme", task_type=task_type, attempt=2, attempts=3, timeout_seconds=30,
        payload=payload,
    )  # fmt: skip
    executors.start(lease)
    return await ended


@pytest.mark.parametrize("error_text", [False, True])
async def test_the_text_of_an_exception_is_the_operators_choice(
    error_text: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Type, place and ids are there in any case."""
    report = await report_of("FAIL", error_text=error_text)

    told = vars(caplog.records[-1])
    assert report.outcome == "failed"
    assert {name: told[name] for name in ("msg", "task_id", "organization", "attempt", "task_type", "error")} == {
        "msg": "attempt.raised", "task_id": "t", "organization": "acme", "attempt": 2, "task_type": "FAIL",
        "error": "ExceptionGroup of ValueError",
    }  # fmt: skip
    assert ("canary" in caplog.text) is error_text


async def test_every_handler_of_a_logger_names_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that the application made; a record that is made outside of attempts has no such fields."""
    caplog.set_level(logging.INFO)
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep()
    shop = logging.getLogger("shop")
    shop.addHandler(handler)
    try:
        logs.name_attempts()
        logs.name_attempts()
        shop.info("outside")
        await report_of("FAIL")
    finally:
        shop.removeHandler(handler)

    outside, inside = records
    assert "task_id" not in vars(outside)
    assert {name: vars(inside)[name] for name in ("task_id", "organization", "attempt")} == {
        "task_id": "t", "organization": "acme", "attempt": 2,
    }  # fmt: skip
    assert len(handler.filters) == 1
