"""What the supervisor does when a worker process dies, hangs, or has to go: real processes, real kill -9."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fairlane.protocol import Register, Registered
from fairlane.worker.supervisor import Supervisor
from tests.worker.conftest import APPS, a_server, a_supervisor, eventually
from tests.worker.fake_server import FakeServer


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int) -> bool:
    """Alive and no zombie: an orphan may wait long for whoever reaps it."""
    if not Path("/proc/self").exists():
        return is_alive(pid)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pid_of(supervisor: Supervisor) -> int:
    pid = supervisor.children[0].pid
    assert pid is not None
    return pid


async def test_killed_child_is_reported_lost_within_a_second(
    server: FakeServer, supervisor: Supervisor, tmp_path
) -> None:
    """Its leases go back at once, and a new child takes its place."""
    track, gate = tmp_path / "track", tmp_path / "gate"
    server.put("WAIT", {"track": str(track), "until": str(gate)})
    await server.changed()
    await eventually(track.exists)
    pid = pid_of(supervisor)

    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: server.ended, seconds=1.0)

    session, ending = server.ended[0]
    assert (session, ending.reason, ending.overdue) == ("session-1", "lost", [])
    lease = server.put("ADD", {"n": 1})
    await server.changed()
    await eventually(lambda: lease in server.reports)
    assert pid_of(supervisor) != pid


async def test_child_that_kills_itself_comes_back_each_time(server: FakeServer, supervisor: Supervisor) -> None:
    """A handler that kills its process loses its attempt; the next attempt finds a new process soon."""
    for attempt in (1, 2, 3):
        before = len(server.ended)
        server.put("CRASH", attempt=attempt)
        await server.changed()
        await eventually(lambda before=before: len(server.ended) > before)  # type: ignore[misc]

    assert [ending.reason for _, ending in server.ended] == ["lost"] * 3


async def test_thread_that_overruns_takes_its_process_and_is_named_alone(
    server: FakeServer, supervisor: Supervisor, tmp_path
) -> None:
    """Past deadline and grace the process is killed; its neighbours are not blamed."""
    track, gate = tmp_path / "track", tmp_path / "gate"
    server.put("WAIT", {"track": str(track), "until": str(gate)})
    stuck = server.put("STUCK_THREAD", {"track": str(track)}, timeout=0.2)
    began_at = time.monotonic()
    await server.changed()

    await eventually(lambda: server.ended)

    _, ending = server.ended[0]
    assert (ending.reason, ending.overdue) == ("overdue", [stuck])
    assert time.monotonic() - began_at > 0.2 + 0.4


async def test_async_handler_that_ignores_its_end_is_overdue(
    server: FakeServer, supervisor: Supervisor, tmp_path
) -> None:
    """Swallowing the cancellation does not help."""
    stuck = server.put("STUBBORN", {"track": str(tmp_path / "track")}, timeout=0.1)
    await server.changed()

    await eventually(lambda: server.ended)

    assert server.ended[0][1].overdue == [stuck]


async def test_canceled_thread_that_does_not_end_takes_its_process(
    server: FakeServer, supervisor: Supervisor, tmp_path
) -> None:
    """It gets the grace of an overdue attempt, long before its deadline; its neighbours are not blamed."""
    track, gate = tmp_path / "track", tmp_path / "gate"
    server.put("WAIT", {"track": str(track), "until": str(gate)})
    stuck = server.put("STUCK_THREAD", {"track": str(track)}, timeout=60)
    await server.changed()
    await eventually(lambda: track.exists() and track.read_text().count("began") == 2)

    canceled_at = time.monotonic()
    server.cancel = [stuck]
    await server.changed()
    await eventually(lambda: server.ended)

    _, ending = server.ended[0]
    assert (ending.reason, ending.overdue) == ("overdue", [stuck])
    assert time.monotonic() - canceled_at > 0.4


async def test_canceled_thread_that_looks_ends_by_itself(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """``context.canceled`` tells it; nobody is killed for it."""
    track = tmp_path / "track"
    lease = server.put("WAIT_THREAD", {"track": str(track), "until": str(tmp_path / "never")}, timeout=60)
    await server.changed()
    await eventually(track.exists)

    server.cancel = [lease]
    await server.changed()
    await eventually(lambda: lease in server.reports)

    assert track.read_text().split() == ["began", "canceled"]
    assert (server.reports[lease].outcome, server.reports[lease].retry) == ("failed", False)
    assert not server.ended


async def test_canceled_isolated_handler_is_killed_alone(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """Its process goes, the worker process and its other attempts stay."""
    victim, track, gate = tmp_path / "victim", tmp_path / "track", tmp_path / "gate"
    stuck = server.put("STUCK_ISOLATED", {"track": str(victim)}, timeout=60)
    neighbour = server.put("WAIT", {"track": str(track), "until": str(gate)})
    await server.changed()
    await eventually(lambda: victim.exists() and victim.read_text().endswith("\n") and track.exists())

    server.cancel = [stuck]
    await server.changed()
    await eventually(lambda: stuck in server.reports)

    assert (server.reports[stuck].outcome, server.reports[stuck].retry) == ("failed", False)
    assert not is_running(int(victim.read_text()))
    gate.touch()
    await eventually(lambda: neighbour in server.reports)
    assert server.reports[neighbour].outcome == "completed"
    assert not server.ended


async def test_worker_that_cannot_hear_of_a_cancel_is_killed(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path
) -> None:
    """A handler holds the interpreter, so no answer is read: the supervisor hears of it with its renewal."""
    server.renew_seconds = 0.1
    await supervise().start()
    track = tmp_path / "track"
    lease = server.put("HOLD_INTERPRETER", {"track": str(track)}, timeout=60)
    await server.changed()
    await eventually(track.exists)

    server.cancel_on_renewal = [lease]
    await eventually(lambda: server.ended)

    assert (server.ended[0][1].reason, server.ended[0][1].overdue) == ("overdue", [lease])


async def test_isolated_handler_is_killed_alone(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """Its neighbours in the worker process, and another isolated one, go on."""
    track, gate = tmp_path / "track", tmp_path / "gate"
    neighbour = server.put("WAIT", {"track": str(track), "until": str(gate)})
    victim, survivor = tmp_path / "victim", tmp_path / "survivor"
    stuck = server.put("STUCK_ISOLATED", {"track": str(victim)}, timeout=0.8)
    server.put("STUCK_ISOLATED", {"track": str(survivor)}, timeout=60)
    await server.changed()
    await eventually(lambda: stuck in server.reports)

    report = server.reports[stuck]

    assert (report.outcome, report.cause, report.retry) == ("failed", "timeout", True)
    began = victim.read_text() if victim.exists() else ""
    assert not (began and is_alive(int(began))), "on a busy machine its time may be over before it began"
    await eventually(lambda: survivor.exists() and survivor.read_text().endswith("\n"))
    assert is_alive(int(survivor.read_text()))
    gate.touch()
    await eventually(lambda: neighbour in server.reports)
    assert server.reports[neighbour].outcome == "completed"
    assert not server.ended


async def test_isolated_process_dies_with_its_worker(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """No handler runs on behind a worker that was killed."""
    track = tmp_path / "track"
    server.put("STUCK_ISOLATED", {"track": str(track)})
    await server.changed()
    await eventually(lambda: track.exists() and track.read_text().endswith("\n"))
    pid = int(track.read_text())

    os.kill(pid_of(supervisor), signal.SIGKILL)

    await eventually(lambda: not is_running(pid), seconds=2.0)


async def test_handler_holding_the_interpreter_does_not_stop_renewals(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path
) -> None:
    """The supervisor renews from its own process, naming what the stuck child holds."""
    server.renew_seconds, server.lease_seconds = 0.1, 1.5
    await supervise().start()
    track = tmp_path / "track"
    lease = server.put("HOLD_INTERPRETER", {"track": str(track)}, timeout=60)
    await server.changed()
    await eventually(track.exists)
    before = len(server.renewals)

    await eventually(lambda: len(server.renewals) >= before + 20)

    assert all(renewal.leases == [lease] for _, renewal in server.renewals[before + 1 :])
    assert not server.ended


async def test_renewal_names_leases_and_open_exchanges(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path
) -> None:
    """So the server can tell a lost answer from a running attempt."""
    server.renew_seconds = 0.05
    await supervise().start()
    track, gate = tmp_path / "track", tmp_path / "gate"
    lease = server.put("WAIT", {"track": str(track), "until": str(gate)})
    await server.changed()
    await eventually(track.exists)

    def named() -> bool:
        # A renewal may be sent between the answer that brought the lease and the next exchange.
        renewals = server.renewals[-1:]
        return [(one.leases, one.exchanges) for _, one in renewals] == [([lease], [server.exchanges[-1].id])]

    await eventually(named)

    gate.touch()
    await eventually(lambda: server.renewals[-1][1].leases == [])


async def test_child_whose_session_cannot_be_renewed_is_killed(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path
) -> None:
    """Before its lease ends, so that nothing runs twice."""
    server.renew_seconds, server.lease_seconds = 0.1, 3.0
    supervisor = supervise()
    await supervisor.start()
    await supervisor.ready()
    pid = pid_of(supervisor)

    server.silent = True
    silent_at = time.monotonic()
    await eventually(lambda: not is_alive(pid))

    assert time.monotonic() - silent_at < server.lease_seconds
    server.silent = False
    await eventually(lambda: len(server.registered) == 2)


async def test_session_that_is_gone_ends_its_child(server: FakeServer, supervisor: Supervisor) -> None:
    """The next child registers anew."""
    pid = pid_of(supervisor)
    server.gone.add("session-1")
    await server.changed()

    await eventually(lambda: "session-2" in server.registered)

    assert not is_alive(pid)


async def test_drain_lets_attempts_end_and_takes_nothing_new(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs is finished and reported, stop hooks run, the session ends as drained."""
    stopped = tmp_path / "stopped"
    monkeypatch.setenv("FAIRLANE_TEST_STOPPED", str(stopped))
    supervisor = supervise()
    await supervisor.start()
    track, gate = tmp_path / "track", tmp_path / "gate"
    running = server.put("WAIT", {"track": str(track), "until": str(gate)})
    await server.changed()
    await eventually(track.exists)

    def child_knows() -> bool:
        """Three places are free: it hands back what comes, or offers none of them."""
        return bool(server.released or (server.waiting and server.waiting[0].places == 0))

    draining = asyncio.create_task(supervisor.drain(20))
    while not child_knows():
        early = server.put("ADD", {"n": 1})
        await server.changed()
        await eventually(lambda early=early: early in server.reports or child_knows())  # type: ignore[misc]
    late = server.put("ADD", {"n": 1})
    await server.changed()
    await eventually(lambda: supervisor.children[0].held == {running})
    gate.touch()
    await draining

    assert server.reports[running].outcome == "completed"
    assert late in [lease.lease for lease in server.queue]
    assert [ending.reason for _, ending in server.ended] == ["drained"]
    assert len(stopped.read_text().split()) == 1
    assert not server.leases


async def test_a_drained_worker_ends_after_its_attempt_and_is_not_replaced(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path
) -> None:
    """The operator's wish comes with a renewal; the other process goes on until it is drained, too."""
    supervisor = supervise(count=2)
    await supervisor.start()
    await asyncio.wait_for(supervisor.ready(), 20)
    track, gate = tmp_path / "track", tmp_path / "gate"
    running = server.put("WAIT", {"track": str(track), "until": str(gate)})
    await server.changed()
    await eventually(track.exists)
    busy = server.leases[running][1]
    [idle] = server.registered.keys() - {busy}

    server.drained.add(busy)
    await eventually(lambda: any(session == busy for session, _ in server.renewals))
    await eventually(lambda: any(child.dismissed for child in supervisor.children))
    assert not server.ended
    gate.touch()
    await eventually(lambda: server.ended)

    assert [(session, ending.reason) for session, ending in server.ended] == [(busy, "drained")]
    assert server.reports[running].outcome == "completed"
    await eventually(lambda: len(supervisor.children) == 1)
    assert not supervisor.emptied.is_set()
    server.drained.add(idle)
    await asyncio.wait_for(supervisor.emptied.wait(), 20)
    assert set(server.registered) == {busy, idle}


async def test_drain_hands_back_what_does_not_end(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """Async attempts are interrupted and released; a stuck thread goes back with the session. All within the bound."""
    track, gate = tmp_path / "track", tmp_path / "gate"
    waiting = server.put("WAIT", {"track": str(track), "until": str(gate)})
    server.put("STUCK_THREAD", {"track": str(track)})
    await server.changed()
    await eventually(lambda: track.exists() and track.read_text().count("began") == 2)

    drained_at = time.monotonic()
    drained = await supervisor.drain(0.2)

    assert time.monotonic() - drained_at < 2.2
    assert server.released == [waiting]
    assert (drained.finished, drained.returned, drained.lost) == (0, 2, 0), "by a report, and with the session"
    assert 0.2 <= drained.seconds < 2.2
    assert [(ending.reason, ending.overdue) for _, ending in server.ended] == [("drained", [])]


async def test_attempt_of_a_child_that_dies_while_draining_is_lost_although_its_channel_ends_first(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path
) -> None:
    """The supervisor waits a moment for how the process ended, before it kills what has no channel."""
    supervisor = supervise(count=1, places=1)
    await supervisor.start()
    track, gate = tmp_path / "track", tmp_path / "gate"
    server.put("HANG_UP_AND_CRASH", {"track": str(track), "until": str(gate)})
    await server.changed()
    await eventually(track.exists)

    draining = asyncio.create_task(supervisor.drain(20))
    await asyncio.sleep(0)
    gate.touch()
    drained = await draining

    assert (drained.finished, drained.returned, drained.lost) == (0, 0, 1)
    assert [ending.reason for _, ending in server.ended] == ["lost"]


async def test_drain_tells_what_finished_and_what_was_lost(
    server: FakeServer, supervise: Callable[..., Supervisor], tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over all worker processes, one of which dies meanwhile; attempts that ended before the drain are not in it."""
    caplog.set_level(logging.INFO, "fairlane.worker")
    supervisor = supervise(count=2, places=1)
    await supervisor.start()
    before = server.put("NOOP")
    await server.changed()
    await eventually(lambda: before in server.reports)
    tracks, gate = [tmp_path / "one", tmp_path / "two"], tmp_path / "gate"
    leases = [server.put("WAIT", {"track": str(track), "until": str(gate)}) for track in tracks]
    await server.changed()
    await eventually(lambda: all(track.exists() for track in tracks))
    victim = supervisor.children[0]

    draining = asyncio.create_task(supervisor.drain(20))
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    await eventually(lambda: server.ended)
    gate.touch()
    drained = await draining

    assert (drained.finished, drained.returned, drained.lost) == (1, 0, 1)
    assert len(set(leases) & set(server.reports)) == 1
    [said] = [vars(record) for record in caplog.records if record.message == "worker.drained"]
    assert {name: said[name] for name in ("finished", "returned", "lost", "seconds")} == msgspec.structs.asdict(drained)


async def test_handler_that_holds_the_loop_is_named(
    server: FakeServer, supervisor: Supervisor, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the line of its code; its neighbour, which only waits, is not."""
    caplog.set_level(logging.WARNING, "fairlane.worker")
    track, gate = tmp_path / "track", tmp_path / "gate"
    server.put("WAIT", {"track": str(track), "until": str(gate)})
    await server.changed()
    await eventually(track.exists)

    lease = server.put("HOLD_LOOP", {"until": str(gate)})
    await server.changed()
    await eventually(lambda: "loop.held" in caplog.messages)
    gate.touch()
    await eventually(lambda: lease in server.reports)

    [said] = [vars(record) for record in caplog.records if record.message == "loop.held"]
    assert (said["task_type"], said["task_id"], said["attempt"]) == ("HOLD_LOOP", "task-2", 1)
    place, _, function = said["place"].partition(" in ")
    file, _, line = place.rpartition(":")
    assert (file, function) == (str(APPS / "plain.py"), "hold_loop")
    source = (APPS / "plain.py").read_text().splitlines()
    assert "exists()" in source[int(line) - 1] or "time.sleep" in source[int(line) - 1]
    assert said["seconds"] > 1


async def test_signals_of_a_terminal_do_not_end_a_child(server: FakeServer, supervisor: Supervisor) -> None:
    """Ctrl-C reaches every process of a terminal; the supervisor alone decides."""
    pid = pid_of(supervisor)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    lease = server.put("ADD", {"n": 1})
    await server.changed()

    await eventually(lambda: lease in server.reports)

    assert pid_of(supervisor) == pid
    assert not server.ended


async def test_child_leaves_when_its_supervisor_hangs_up(server: FakeServer, supervisor: Supervisor) -> None:
    """The end of the channel ends the child, also where the kernel does not see to it."""
    pid = pid_of(supervisor)

    supervisor.children[0].line.close()

    await eventually(lambda: not is_alive(pid), seconds=2.0)


async def test_application_that_cannot_be_loaded_is_reported_once(
    server: FakeServer, supervise: Callable[..., Supervisor]
) -> None:
    """Starting it again would not help; the message names the place."""
    messages: list[str] = []
    supervisor = supervise(app_reference=f"{APPS / 'broken.py'}:app", count=2, on_broken=messages.append)
    await supervisor.start()

    await eventually(lambda: messages)

    assert len(messages) == 1
    assert "broken.py:5" in messages[0]
    assert "ZeroDivisionError" in messages[0]
    assert not server.registered


async def test_stop_kills_at_once(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """The second SIGTERM: what ran is lost, and said to be."""
    track = tmp_path / "track"
    server.put("STUCK_THREAD", {"track": str(track)})
    await server.changed()
    await eventually(track.exists)
    pid = pid_of(supervisor)

    await supervisor.stop()

    assert not is_alive(pid)
    assert [ending.reason for _, ending in server.ended] == ["lost"]


class LateServer(FakeServer):
    """Its answer to a registration comes late by the clock of this process."""

    late_seconds = 0.0

    def _register(self, registration: Register) -> Registered:
        self.late_seconds = self.renew_seconds
        return super()._register(registration)


async def test_a_session_that_was_opened_late_is_renewed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease began at the server, before the answer was here.

    Found by the simulation: the session expired while its worker waited for the time of the first renewal.
    """
    server = LateServer(tmp_path / "worker.sock", renew_seconds=9.0)
    loop = asyncio.get_running_loop()
    time_of_loop = loop.time
    monkeypatch.setattr(loop, "time", lambda: time_of_loop() + server.late_seconds)
    async with a_server(tmp_path, server):
        supervisor = a_supervisor(server)
        await supervisor.start()
        try:
            await eventually(lambda: server.renewals, seconds=6.0)
        finally:
            await supervisor.stop()
