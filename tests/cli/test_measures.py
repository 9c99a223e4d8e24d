"""The demonstration's arithmetic."""

import os
from datetime import UTC, datetime

import pytest

from fairlane.client import Concurrency, PriorityCount, Status, Task
from fairlane.demo.main import _processors
from fairlane.demo.measures import Sample, Span, both_waiting, highest_used, rate, service_ms, share_of
from fairlane.demo.report import Evidence, judge
from fairlane.demo.sources import TASKS_LEAST, SourceFile, bytes_for, choose_work


def a_status(*, queued: int = 0, used: int | None = 0, limit: int = 4) -> Status:
    """A status that adds up."""
    levels = (PriorityCount(5, queued),) if queued else ()
    return Status(queued, used or 0, None if used is None else Concurrency(used, limit), levels)


def a_sample(at: int, *, acme: int, globex: int, done: int = 0) -> Sample:
    """Both organizations with so many queued."""
    statuses = {"acme": a_status(queued=acme), "globex": a_status(queued=globex, limit=8)}
    return Sample(at=at, statuses=statuses, done={"acme": done, "globex": done})


def a_task(*, start: int, end: int, status: str = "COMPLETED") -> Task:
    """A task that ended."""
    return Task(
        id="1", task_type="T", status=status, priority=5, created_at=datetime.now(UTC), latency_ms=1,
        idempotency_key=None, credits_to_charge=0, credits_charged=0,
        response={"startedAt": start, "finishedAt": end},
    )  # fmt: skip


def test_the_longest_span_with_both_queues_filled_is_found() -> None:
    """A moment with one queue empty ends a span."""
    queues = [(0, 5), (3, 3), (3, 0), (2, 2), (2, 1), (1, 1), (1, 0)]
    samples = [a_sample(at * 100, acme=acme, globex=globex) for at, (acme, globex) in enumerate(queues)]

    assert both_waiting(samples) == Span(300, 500)
    assert both_waiting(samples[:1]) is None
    assert both_waiting([]) is None


def test_only_service_inside_the_span_counts() -> None:
    """Runs are cut at both ends, and runs outside add nothing."""
    runs = [Span(0, 150), Span(120, 180), Span(190, 400), Span(250, 300), Span(0, 50)]

    assert service_ms(runs, Span(100, 200)) == 50 + 60 + 10


def test_a_share_is_a_part_of_all_service() -> None:
    """Nobody ran: nobody has a share."""
    runs = {"acme": [Span(0, 100)], "globex": [Span(0, 100), Span(0, 100), Span(0, 100)]}

    assert share_of("globex", runs, Span(0, 100)) == 0.75
    assert share_of("globex", runs, Span(200, 300)) == 0.0


def test_the_rate_is_over_the_last_seconds() -> None:
    """Older samples do not matter, and one sample has no rate."""
    samples = [
        a_sample(at, acme=0, globex=0, done=done) for at, done in ((0, 0), (7_000, 10), (9_000, 30), (10_000, 40))
    ]

    assert rate("acme", samples) == pytest.approx(10.0)
    assert rate("acme", samples[:1]) == 0.0


def test_the_highest_used_is_found_and_null_is_none() -> None:
    """A null concurrency is no use of slots."""
    samples = [Sample(at=0, statuses={"acme": a_status(used=used)}, done={"acme": 0}) for used in (1, 4, None, 2)]

    assert highest_used("acme", samples) == 4


def failed_checks(**changes: object) -> list[str]:
    """What a good demonstration fails, with these changes."""
    samples = [a_sample(at * 100, acme=9, globex=9) for at in range(100)]
    tasks = {
        "acme": [a_task(start=at * 100, end=at * 100 + 30) for at in range(160)],
        "globex": [a_task(start=at * 100, end=at * 100 + 90) for at in range(160)],
    }
    good = {"planned": 320, "tasks": tasks, "samples": samples, "recounts": 9, "drifts": [], "seconds": 20.0}
    return [check.name for check in judge(Evidence(**(good | changes))) if not check.held]  # type: ignore[arg-type]


def test_each_promise_fails_alone() -> None:
    """The check that fails is the one that was broken."""
    over = Sample(at=0, statuses={"acme": a_status(used=5), "globex": a_status(limit=8)}, done={"acme": 0, "globex": 0})
    odd = Status(2, 0, Concurrency(0, 4), (PriorityCount(5, 1),))
    torn = Sample(at=0, statuses={"acme": odd, "globex": a_status(limit=8)}, done={"acme": 0, "globex": 0})
    full = [a_sample(at * 100, acme=9, globex=9) for at in range(100)]
    even = {name: [a_task(start=at, end=at + 50) for at in range(0, 16_000, 100)] for name in ("acme", "globex")}
    failed = {name: [a_task(start=0, end=10_000, status="FAILED")] for name in ("acme", "globex")}

    assert failed_checks() == []
    assert failed_checks(samples=[over, *full]) == ["slots of acme"]
    assert failed_checks(samples=[torn, *full]) == ["status adds up"]
    assert failed_checks(tasks=even) == ["fair share"]
    assert failed_checks(planned=321) == ["completed"]
    assert failed_checks(tasks=failed, planned=2) == ["completed"]
    assert failed_checks(samples=full[:5]) == ["fair share"]
    assert failed_checks(drifts=[{"organization": "acme"}]) == ["recount"]
    assert failed_checks(recounts=0) == ["recount"]


@pytest.mark.parametrize("size", [100_000, 3_000_000, 12_000_000, 80_000_000])
def test_the_work_fits_the_machine(size: int) -> None:
    """Never fewer than the least number of tasks, about the size wanted, every task different, half of each type."""
    files = [SourceFile(f"f{index}.py", 1_000 + index * 130) for index in range(700)]
    sizes = {file.path: file.size for file in files}

    work = choose_work(files, size=size)

    drawn = [one for one in work if one.task_type == "HIGHLIGHT"]
    assert len(work) >= TASKS_LEAST
    assert len(set(work)) == len(work) == 2 * len(drawn)
    if size > 200_000:
        assert sum(sizes[one.path] for one in drawn) == pytest.approx(size, rel=0.15)


def test_processors_are_counted_on_every_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every one tells which of them a process may use."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)

    assert _processors() == 7


def test_more_processors_than_workers_do_not_help() -> None:
    """Two worker processes keep two processors busy."""
    one, two, many = (bytes_for(20, bytes_per_second=300_000, processors=count) for count in (1, 2, 64))

    assert many == two == 2 * one
