"""What the log is told of an attempt that failed, and what every record of an attempt has."""

import asyncio
import io
import logging.config
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import Raw

from fairlane import Fail, Fairlane, Retry, logs
from fairlane.protocol import LeaseBody, ReportBody
from fairlane.worker.executors import Executors

app = Fairlane()


@app.task("FAIL")
async def fail(payload: dict[str, Any]) -> None:
    """Raise with its payload."""
    logging.getLogger("shop").info("begun")
    raise ExceptionGroup(payload["secret"], [ValueError(payload["secret"])])


class OutOfStock(Fail):
    """A signal of the application's own that does not call the ``__init__`` of ``Fail``."""

    def __init__(self) -> None:
        """Nothing more."""


@app.task("OUT_OF_STOCK")
async def out_of_stock(payload: dict[str, Any]) -> None:
    """Raise what lacks its code."""
    raise OutOfStock


def deafen() -> None:
    """Set the level of fairlane's own handlers, as an application that goes through all handlers does."""
    for one in logging.getLogger().handlers:
        if isinstance(one, logs.OwnHandler):
            one.setLevel("CRITICAL")


WAYS: list[Callable[[], object]] = [
    logging.disable,
    lambda: logging.config.dictConfig({"version": 1}),
    lambda: logging.basicConfig(force=True, level=logging.CRITICAL, handlers=[logging.NullHandler()]),
    deafen,
    lambda: logging.getLogger("fairlane.worker").setLevel("CRITICAL"),
    lambda: setattr(logging.getLogger("fairlane.worker"), "propagate", False),
]


@app.task("SILENCE")
async def silence(payload: dict[str, Any]) -> None:
    """Configure logging anew, then raise."""
    WAYS[payload["number"]]()
    raise ValueError


class Mute(Exception):
    """Says nothing of itself."""

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


@app.task("MUTE")
async def mute(payload: dict[str, Any]) -> None:
    """Raise what cannot be looked at."""
    raise Mute


async def report_of(
    task_type: str, *, error_text: bool = False, payload: bytes = b'{"secret": "canary"}'
) -> ReportBody:
    """Run one attempt here."""
    ended: asyncio.Future[ReportBody] = asyncio.get_running_loop().create_future()
    executors = Executors(
        app.task_types, ended=ended.set_result, result_limit_bytes=1000, isolated=None, error_text=error_text
    )
    lease = LeaseBody(
        lease="l", task="t", organization="acme", task_type=task_type, attempt=2, attempts=3, timeout_seconds=30,
        payload=Raw(payload),
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
    # Of a group whose exceptions were never raised it is the place of the group.
    assert told["place"].endswith(" in fail")


async def test_a_signal_that_lacks_its_members_ends_its_attempt_like_any_other() -> None:
    """A class of the application's that does not call the ``__init__`` of ``Fail`` is one all the same."""
    report = await report_of("OUT_OF_STOCK")

    assert report.failure is not None
    assert (report.failure.code, report.failure.message, report.retry) == ("FAILED", "The task failed", False)


async def test_an_exception_that_cannot_be_looked_at_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its type alone."""
    report = await report_of("MUTE")

    told = vars(caplog.records[-1])
    assert (report.outcome, report.retry) == ("failed", True)
    assert (told["msg"], told["task_id"], told["error"]) == ("attempt.raised", "t", "Mute")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What fairlane's own handler writes; logging is as before afterwards."""
    root, own = logging.getLogger(), logging.getLogger("fairlane")
    before = list(root.handlers), root.level, root.manager.disable, list(own.handlers), own.level, own.propagate
    written = io.StringIO()
    handler = logs.OwnHandler(written)
    handler.setFormatter(logs.TextFormatter())
    root.addHandler(handler)
    yield written
    root.handlers[:], level, disabled, own.handlers[:], own_level, own.propagate = before
    root.setLevel(level)
    own.setLevel(own_level)
    logging.disable(disabled)
    for found in logs._loggers():
        found.disabled = False


@pytest.mark.parametrize("number", range(len(WAYS)))
async def test_a_handler_cannot_silence_the_log(number: int, stream: io.StringIO) -> None:
    """Its own attempt has its line, as the import of a module inside of it may configure logging as any import may."""
    await report_of("SILENCE", payload=f'{{"number": {number}}}'.encode())
    await report_of("SILENCE", payload=f'{{"number": {number}}}'.encode())

    written = stream.getvalue()
    assert written.count("attempt.raised") == 2
    assert "application.changed" in written


def test_a_signal_travels_from_a_process_that_the_handler_started() -> None:
    """With all that it says."""
    for signal in (Fail("NO", "nothing there", {"why": 1}), OutOfStock(), Retry("later", after=2)):
        again = pickle.loads(pickle.dumps(signal))
        assert (type(again), str(again), vars(again)) == (type(signal), str(signal), vars(signal))


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
