"""Spans of attempts, from real worker processes with a real SDK that keeps them back until they end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlane.protocol import ReportBody
from tests.spans import CALLER
from tests.worker.conftest import APPS, a_supervisor, eventually
from tests.worker.fake_server import FakeServer

TRACE, SPAN = CALLER[3:35], CALLER[36:52]


@pytest.fixture
def kept(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that spans come to."""
    path = short_path / "spans.jsonl"
    monkeypatch.setenv("TRACED_FILE", str(path))
    return path


@asynccontextmanager
async def working(server: FakeServer, *, traces: bool) -> AsyncIterator[None]:
    """A worker of the application; it ends in order."""
    made = a_supervisor(server, app_reference=f"{APPS / 'traced.py'}:app", traces=traces)
    await made.start()
    await asyncio.wait_for(made.ready(), 20)
    try:
        yield
        await made.drain(5)
    finally:
        await made.stop()


async def report_of(server: FakeServer, task_type: str, traceparent: str | None = None) -> ReportBody:
    """How an attempt ended whose task was submitted within this span."""
    lease = server.put(task_type, {"secret": "hush"})
    if traceparent is not None:
        server.queue[-1].traceparent = traceparent
    await server.changed()
    await eventually(lambda: lease in server.reports)
    return server.reports[lease]


def spans(path: Path) -> dict[str, dict[str, Any]]:
    """By name; none of them tells of the payload."""
    assert "hush" not in path.read_text()
    return {span["name"]: span for span in map(json.loads, path.read_text().splitlines())}


def place(span: dict[str, Any]) -> tuple[str, str, str | None]:
    """Its trace, itself, and what it stands under, in hexadecimal digits."""
    own = span["context"]
    return own["trace_id"][2:], own["span_id"][2:], span["parent_id"] and span["parent_id"][2:]


async def test_attempts_stand_under_the_submit_and_handlers_spans_under_them(server: FakeServer, kept: Path) -> None:
    """On the loop, on a thread and in a process of its own, which has the handler's span alone; the handler has the
    name of the attempt's span to hand on. The end of the process waits until all of them are sent."""
    async with working(server, traces=True):
        reports = [await report_of(server, kind, CALLER) for kind in ("LOOP", "THREAD", "ISOLATED")]

    found = spans(kept)
    assert sorted(found) == [
        "own isolated", "own on loop", "own on thread", "run ISOLATED", "run LOOP", "run THREAD",
    ]  # fmt: skip
    for report, attempt, own in zip(
        reports,
        ("run LOOP", "run THREAD", "run ISOLATED"),
        ("own on loop", "own on thread", "own isolated"),
        strict=True,
    ):
        trace, span, parent = place(found[attempt])
        assert (trace, parent) == (TRACE, SPAN)
        assert place(found[own])[::2] == (TRACE, span)
        assert msgspec.json.decode(bytes(report.result)) == {"traceparent": f"00-{trace}-{span}-01"}
        assert found[attempt]["kind"] == "SpanKind.CONSUMER"
        assert found[attempt]["attributes"]["fairlane.outcome"] == "completed"
        assert found[attempt]["attributes"]["fairlane.attempt"] == 1


async def test_a_failure_tells_its_code_and_no_message(server: FakeServer, kept: Path) -> None:
    """Neither the exception's text nor the details are in the span; an attempt that nobody submitted within a span
    begins a trace of its own."""
    async with working(server, traces=True):
        for kind in ("RAISES", "FAILS"):
            await report_of(server, kind)

    found = spans(kept)
    raised, failed = found["run RAISES"], found["run FAILS"]
    assert [one["status"] for one in (raised, failed)] == [{"status_code": "ERROR"}] * 2
    assert [one["attributes"].get("error.type") for one in (raised, failed)] == [None, "NO_SUCH_PAGE"]
    assert [one["events"] for one in (raised, failed)] == [[], []]
    assert [place(one)[2] for one in (raised, failed)] == [None, None]
    assert place(raised)[0] != place(failed)[0]


async def test_without_traces_a_worker_hands_on_what_it_was_given(server: FakeServer, kept: Path) -> None:
    """It makes no span; the handler still knows in whose trace it runs, isolated or not."""
    async with working(server, traces=False):
        reports = [await report_of(server, kind, CALLER) for kind in ("LOOP", "ISOLATED")]
        alone = await report_of(server, "LOOP")

    assert [msgspec.json.decode(bytes(report.result)) for report in reports] == [{"traceparent": CALLER}] * 2
    assert msgspec.json.decode(bytes(alone.result)) == {"traceparent": None}
    assert not [line for line in kept.read_text().splitlines() if json.loads(line)["name"].startswith("run ")]
