"""The demonstration's arithmetic."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from fairlane.client import Concurrency, PriorityCount, Status, Task, TimeWaited
from fairlane.demo.main import _processors
from fairlane.demo.measures import (
    Sample,
    Span,
    both_waiting,
    highest_used,
    queued_spans,
    rate,
    service_ms,
    share_of,
    slot_spans,
)
from fairlane.demo.report import SHARE_LEAST, Evidence, judge
from fairlane.demo.sources import TASKS_LEAST, SourceFile, bytes_for, choose_work


def a_status(*, queued: int = 0, used: int | None = 0, limit: int = 4) -> Status:
    """A status that adds up."""
    levels = (PriorityCount(5, queued),) if queued else ()
    return Status(queued, used or 0, None if used is None else Concurrency(used, limit), levels)


def a_sample(at: int, *, acme: int, globex: int, done: int = 0) -> Sample:
    """Both organizations with so many queued."""
    statuses = {"acme": a_status(queued=acme), "globex": a_status(queued=globex, limit=8)}
    return Sample(at=at, statuses=statuses, done={"acme": done, "globex": done})


EPOCH = datetime(2030, 1, 31, tzinfo=UTC)
EPOCH_MS = round(EPOCH.timestamp() * 1000)


def a_task(*, queued: int = 0, start: int, end: int, status: str = "COMPLETED") -> Task:
    """A task that ended: accepted, started and ended at these milliseconds after the epoch of these tests."""
    return Task(
        id="1", task_type="T", status=status, priority=5, created_at=EPOCH + timedelta(milliseconds=queued),
        latency_ms=end - start, idempotency_key=None, credits_to_charge=0, credits_charged=0,
        waited=TimeWaited(for_slot_ms=(start - queued) // 2, for_worker_ms=(start - queued + 1) // 2), response={},
    )  # fmt: skip


def test_when_tasks_were_queued_and_held_slots_is_in_their_records() -> None:
    """A task that did not start has neither; one that runs holds its slot for an unknown time."""
    task = a_task(queued=5, start=100, end=130)
    tasks = [task, structs.replace(task, waited=None), structs.replace(task, latency_ms=None)]

    assert queued_spans(tasks) == [Span(EPOCH_MS + 5, EPOCH_MS + 100)] * 2
    assert slot_spans(tasks) == [Span(EPOCH_MS + 100, EPOCH_MS + 130)]


def test_the_longest_span_with_both_queues_filled_is_found() -> None:
    """Each moment with an empty queue ends a span, however short it is; spans that touch are one."""
    acme = [Span(0, 300), Span(100, 200), Span(300, 600), Span(601, 650)]
    globex = [Span(50, 120), Span(130, 400), Span(350, 640)]

    assert both_waiting([acme, globex]) == both_waiting([globex, acme]) == Span(130, 600)
    assert both_waiting([acme, [Span(300, 300)]]) is None
    assert both_waiting([acme, []]) is None
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


def queued_from_the_start(**lengths: int) -> dict[str, list[Task]]:
    """160 tasks of each organization that were accepted together; one starts each 100 ms, for these milliseconds."""
    return {
        name: [a_task(start=at * 100, end=at * 100 + length) for at in range(160)] for name, length in lengths.items()
    }


def failed_checks(**changes: object) -> list[str]:
    """What a good demonstration fails, with these changes."""
    samples = [a_sample(at * 100, acme=9, globex=9) for at in range(100)]
    tasks = queued_from_the_start(acme=30, globex=90)
    good = {"planned": 320, "tasks": tasks, "samples": samples, "recounts": 9, "drifts": [], "seconds": 20.0}
    return [check.name for check in judge(Evidence(**(good | changes))) if not check.held]  # type: ignore[arg-type]


def test_each_promise_fails_alone() -> None:
    """The check that fails is the one that was broken."""
    over = Sample(at=0, statuses={"acme": a_status(used=5), "globex": a_status(limit=8)}, done={"acme": 0, "globex": 0})
    odd = Status(2, 0, Concurrency(0, 4), (PriorityCount(5, 1),))
    torn = Sample(at=0, statuses={"acme": odd, "globex": a_status(limit=8)}, done={"acme": 0, "globex": 0})
    full = [a_sample(at * 100, acme=9, globex=9) for at in range(100)]
    even = queued_from_the_start(acme=50, globex=50)
    never_queued = {
        name: [structs.replace(task, waited=TimeWaited(0, 0)) for task in owned] for name, owned in even.items()
    }
    failed = {name: [a_task(start=0, end=10_000, status="FAILED")] for name in ("acme", "globex")}

    assert failed_checks() == []
    assert failed_checks(samples=[over, *full]) == ["slots of acme"]
    assert failed_checks(samples=[torn, *full]) == ["status adds up"]
    assert failed_checks(tasks=even) == ["fair share"]
    assert failed_checks(planned=321) == ["completed"]
    assert failed_checks(tasks=failed, planned=2) == ["completed"]
    assert failed_checks(tasks=never_queued) == ["fair share"]
    assert failed_checks(drifts=[{"organization": "acme"}]) == ["recount"]
    assert failed_checks(recounts=0) == ["recount"]


def test_the_share_is_judged_where_the_records_say_that_both_had_tasks_queued() -> None:
    """Looks are rare on a busy machine: globex ran out of tasks between two of them, and acme took all places."""
    looks = [a_sample(at, acme=9, globex=9) for at in (0, 8_000, 16_000)]
    tasks = queued_from_the_start(acme=30, globex=90)
    tasks["acme"] += [a_task(start=9_000 + at * 100, end=9_900 + at * 100) for at in range(50)]
    tasks["globex"] = [
        task if at < 90 else a_task(queued=14_000, start=at * 50 + 10_000, end=at * 50 + 10_090)
        for at, task in enumerate(tasks["globex"])
    ]
    held = {name: slot_spans(owned) for name, owned in tasks.items()}

    assert failed_checks(tasks=tasks, samples=looks, planned=370) == []
    # The control: over the whole of the time between the looks, the share would not hold.
    assert share_of("globex", held, Span(EPOCH_MS, EPOCH_MS + 16_000)) < SHARE_LEAST


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
