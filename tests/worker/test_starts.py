"""Worker processes that cannot start: said once with the reason, tried again, and over by itself."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlane.worker import child as child_module
from fairlane.worker.child import Child
from fairlane.worker.supervisor import Supervisor
from tests.worker.conftest import APPS, eventually
from tests.worker.fake_server import FakeServer
from tests.worker.test_supervisor import pid_of


@pytest.fixture
def wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the application is to do when it starts."""
    file = tmp_path / "wish"
    file.write_text("")
    monkeypatch.setenv("FAIRLANE_TEST_START", str(file))
    return file


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise", "the start hook load raised RuntimeError (starts.py:21)"),
        ("exit", "the start hook load raised SystemExit (starts.py:23)"),
        ("die", "a worker process ended in the start hook load with status 9"),
        ("hang", "the start hook load has not ended for 0 s"),
    ],
)
async def test_start_hook_that_fails_is_named_until_it_works(
    server: FakeServer,
    supervise: Callable[..., Supervisor],
    wish: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
    reason: str,
) -> None:
    """One line when it begins, one when it is over; the text of the exception is not in them."""
    if what == "hang":
        monkeypatch.setattr(child_module, "START_SECONDS", 0.01)
    caplog.set_level(logging.WARNING, "fairlane.worker")
    wish.write_text(what)
    told: list[str | None] = []
    supervisor = supervise(app_reference=f"{APPS / 'starts.py'}:app", on_trouble=told.append)
    await supervisor.start()

    await eventually(lambda: supervisor.trouble == reason)
    wish.write_text("")
    await eventually(lambda: supervisor.trouble is None and len(told) == 2)
    await asyncio.wait_for(supervisor.ready(), 20)

    assert told[0] is not None
    assert told[1] is None
    assert server.failed_starts
    # With a bound of nothing, the process itself is already late.
    assert what == "hang" or {one.cause for one in server.failed_starts} == {reason}
    assert [record.message for record in caplog.records if record.message.startswith("start.")] == [
        "start.failed",
        "start.recovered",
    ]
    assert "secret" not in told[0]


async def test_import_that_fails_after_it_worked_is_tried_again(
    server: FakeServer, supervise: Callable[..., Supervisor], wish: Path
) -> None:
    """A file that is being changed must not end the server: only the first import decides about that."""
    broken: list[str] = []
    supervisor = supervise(app_reference=f"{APPS / 'starts.py'}:app", on_broken=broken.append)
    await supervisor.start()
    await asyncio.wait_for(supervisor.ready(), 20)

    wish.write_text("import")
    os.kill(pid_of(supervisor), signal.SIGKILL)
    await eventually(lambda: supervisor.trouble == "the import of the application raised ImportError (starts.py:14)")
    wish.write_text("")
    await eventually(lambda: len(server.registered) == 2)

    assert supervisor.trouble is None
    assert broken == []


async def test_every_failed_start_is_counted_once(
    server: FakeServer, supervise: Callable[..., Supervisor], wish: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report without an answer is sent again as it was; what failed meanwhile is in the next one."""
    children: list[Child] = []
    run = Child.run

    async def noted(child: Child) -> None:
        children.append(child)
        await run(child)

    def failed() -> int:
        return sum(child.unstarted is not None for child in children)

    def counted() -> int:
        return sum(one.failures for one in server.failed_starts)

    monkeypatch.setattr(Child, "run", noted)
    wish.write_text("raise")
    server.silent = True
    supervisor = supervise(app_reference=f"{APPS / 'starts.py'}:app")
    await supervisor.start()
    await eventually(lambda: len(server.unheard_starts) >= 2 and failed() >= 2)

    server.silent = False
    await eventually(lambda: len(server.failed_starts) >= 2 and counted() >= failed())
    assert counted() == failed()
    wish.write_text("")
    await asyncio.wait_for(supervisor.ready(), 20)

    first = server.failed_starts[0]
    assert {one.number: one.failures for one in server.unheard_starts} == {first.number: first.failures}
    assert len({one.number for one in server.failed_starts}) == len(server.failed_starts)
    assert first.application == f"{APPS / 'starts.py'}:app"
    [registered] = server.registered.values()
    assert (registered.application, registered.name.rpartition("/")[0]) == (first.application, first.host)
    assert (registered.supervisor, registered.reports) == (first.supervisor, server.failed_starts[-1].number)


async def test_a_start_that_hangs_and_then_breaks_is_counted_once(
    server: FakeServer, supervise: Callable[..., Supervisor], wish: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor has already counted it when the process cannot be watched any more."""
    wish.write_text("hang")
    reported = asyncio.Event()
    supervisor = supervise(app_reference=f"{APPS / 'starts.py'}:app")
    run = Child.run

    async def pause(seconds: float) -> None:
        await supervisor.leaving.wait()

    async def hang_and_break(child: Child) -> None:
        if reported.is_set():
            child.line.close()
        else:
            hanging = asyncio.create_task(run(child))
            await reported.wait()
            child.stop()
            await hanging
        raise OSError

    monkeypatch.setattr(child_module, "START_SECONDS", 0.01)
    monkeypatch.setattr(Child, "run", hang_and_break)
    monkeypatch.setattr(supervisor, "_pause", pause)
    await supervisor.start()
    await eventually(lambda: server.failed_starts)
    reported.set()
    await eventually(lambda: len(server.failed_starts) == 2)

    # The second report is of the second child, which breaks at once.
    assert [one.failures for one in server.failed_starts] == [1, 1]


async def test_the_last_word_of_a_supervisor_that_gives_up_is_why(
    server: FakeServer, supervise: Callable[..., Supervisor]
) -> None:
    """A program that starts it again each time makes a crash loop that operators see."""
    supervisor = supervise(app_reference=f"{APPS / 'broken.py'}:app")
    await supervisor.start()
    await asyncio.wait_for(supervisor.leaving.wait(), 20)

    [report] = server.failed_starts
    assert report.failures == 1
    assert report.cause.startswith("the import of the application raised ")
    assert supervisor.broken is not None


async def test_a_cause_is_reported_in_printable_characters(
    server: FakeServer, supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses others, because operators read it in a terminal."""

    async def fail(child: Child) -> None:
        child.line.close()
        child.cause = "raised at \x1b[2J\n1"

    monkeypatch.setattr(Child, "run", fail)
    await supervise().start()

    await eventually(lambda: server.failed_starts)
    assert server.failed_starts[0].cause == "raised at  [2J 1"


async def test_starts_are_tried_after_pauses_that_grow(
    supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a start takes before it fails, up to half a minute."""
    pauses: list[float] = []
    supervisor = supervise()

    async def fail(child: Child) -> None:
        child.line.close()
        child.cause = "it cannot"

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            supervisor.leaving.set()

    monkeypatch.setattr(Child, "run", fail)
    monkeypatch.setattr(supervisor, "_pause", note)

    await supervisor.start()
    await eventually(lambda: len(pauses) == 12)

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]
