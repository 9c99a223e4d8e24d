"""Measures one participant once: each row on an empty database of its own, with a client process and a worker process.

A peer that fails leaves a word for the rows of that measurement; the others are still measured.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.homes import Database
from benchmarks.load import percentile
from benchmarks.peers.environments import ROOT, python_of
from benchmarks.peers.faults import PeerFault, last_line
from benchmarks.peers.participants import Participant
from benchmarks.peers.protocol import RECORD, SETUP_VARIABLE, Dispatching, Filled, Filling, Setup
from benchmarks.peers.redis_home import free_port
from benchmarks.peers.spans import SECOND, Span, busy_share, most_at_once, per_second, read_spans

SLEEP_SECONDS = 0.05
ORGANIZATIONS, SLOTS, PLACES = 20, 5, 10
DRAIN_SLOTS = 8
"""Of each organization while no-ops are drained: about as many in all as in ``benchmarks/drain.py``."""
CLIENT_SECONDS = 60.0
FIRST_START_SECONDS = 20.0
END_SECONDS = 15.0
WATCH_SECONDS = 0.02
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class PeerScale:
    """How much is measured in one round."""

    submit_seconds: float = 1.0
    fill_count: int = 30_000
    fill_seconds: float = 3.0
    drain_seconds: float = 3.0
    ramp_seconds: float = 1.0
    """After it all workers run tasks; some participants need a multiple of it for 20 × 5."""
    window_seconds: float = 3.0
    dispatches: int = 100
    dispatch_seconds: float = 4.0


SMOKE = PeerScale(
    submit_seconds=0.02,
    fill_count=300,
    fill_seconds=0.2,
    drain_seconds=0.2,
    ramp_seconds=0.02,
    window_seconds=0.15,
    dispatches=3,
    dispatch_seconds=0.1,
)
"""Enough to see that everything works; its figures mean nothing."""


class PlaceHome(Protocol):
    """Where a participant's databases stand."""

    def database(self, name: str) -> Database:
        """A new and empty one."""

    def forget(self, database: Database) -> None:
        """It is not needed any more."""


@dataclass
class Measured:
    """What one round found out about one participant."""

    versions: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    """Instead of a figure."""


ENQUEUE = ("single", "batch", "drain")
"""The rows of the first measurement; each other one has a row, or two of the same."""


class Measuring:
    """One participant in one round."""

    def __init__(self, participant: Participant, home: PlaceHome, scale: PeerScale) -> None:
        self._participant = participant
        self._home = home
        self._scale = scale
        self._python = sys.executable
        self._measured = Measured()

    def measure(self, only: tuple[str, ...] = ()) -> Measured:
        """Measure every row, or those of one measurement."""
        steps: list[tuple[tuple[str, ...], Callable[[], None]]] = [
            (ENQUEUE, self._enqueue_and_drain),
            (("busy_1x10",), self._one_by_ten),
            (("busy_20x5",), self._twenty_by_five),
            (("dispatch_p50_ms", "dispatch_p99_ms"), self._dispatch),
        ]
        steps = [(rows, step) for rows, step in steps if only in ((), rows)]
        try:
            if not (self._participant.is_fairlane or self._participant.module):
                self._python = python_of(self._participant.adapter)
        except PeerFault as fault:
            self._measured.words = {row: str(fault) for rows, _ in steps for row in rows}
            return self._measured
        for rows, step in steps:
            try:
                step()
            except PeerFault as fault:
                self._failed(rows, str(fault))
            except Exception as error:  # noqa: BLE001 - whatever fails, the other participants are still measured
                self._failed(rows, f"{type(error).__name__}: {last_line(str(error))}")
        return self._measured

    def _failed(self, rows: tuple[str, ...], word: str) -> None:
        self._measured.words |= {row: word for row in rows if row not in self._measured.figures}

    def _enqueue_and_drain(self) -> None:
        scale = self._scale
        with self._place(organizations=ORGANIZATIONS, slots=DRAIN_SLOTS) as (setup, log):
            filled = self._fill(setup, log, Filling(scale.fill_count, 0.0, scale.fill_seconds, scale.submit_seconds))
            assert filled.single_per_second is not None
            self._measured.versions = filled.versions
            self._measured.figures["single"] = filled.single_per_second
            if filled.batch_per_second is None:
                self._measured.words["batch"] = "none"
            else:
                self._measured.figures["batch"] = filled.batch_per_second
            with self._worker(setup, log) as worker:
                spans = self._spans(setup, worker, count=filled.count, seconds=scale.drain_seconds)
        self._measured.figures["drain"] = per_second(spans, seconds=scale.drain_seconds)

    def _one_by_ten(self) -> None:
        share, most = self._busy(organizations=1, slots=PLACES)
        self._measured.figures["busy_1x10"] = share
        self._measured.figures["most_1x10"] = most

    def _twenty_by_five(self) -> None:
        if not self._participant.limits:
            raise PeerFault("none")
        share, most = self._busy(organizations=ORGANIZATIONS, slots=SLOTS)
        self._measured.figures["busy_20x5"] = share
        self._measured.figures["most_20x5"] = most

    def _busy(self, *, organizations: int, slots: int) -> tuple[float, int]:
        """Return the busy share of the slots, and the most tasks of one organization at once."""
        scale, places = self._scale, organizations * slots
        ramp = scale.ramp_seconds * (self._participant.ramps if organizations > 1 else 1)
        seconds = ramp + scale.window_seconds
        count = int(places * seconds / SLEEP_SECONDS * 1.2)
        with self._place(organizations=organizations, slots=slots, places=places) as (setup, log):
            filled = self._fill(setup, log, Filling(count, SLEEP_SECONDS, scale.fill_seconds))
            with self._worker(setup, log) as worker:
                spans = self._spans(setup, worker, count=filled.count, seconds=seconds + SLEEP_SECONDS)
        if len(spans) < 2:
            raise PeerFault("too few tasks ran")
        try:
            share = busy_share(spans, slots=places, after=ramp, seconds=scale.window_seconds, filled=filled.count)
        except ValueError as error:
            raise PeerFault(str(error)) from error
        return share, most_at_once(spans)

    def _dispatch(self) -> None:
        scale = self._scale
        with self._place(organizations=1, slots=PLACES) as (setup, log):
            self._fill(setup, log, Filling(0, 0.0, 0.0))
            with self._worker(setup, log) as worker:
                asked = Dispatching(scale.dispatches, scale.dispatch_seconds)
                found = self._client(setup, log, "dispatch", asdict(asked))
                if worker.poll() is not None:
                    raise PeerFault(f"the worker ended: {last_line(log.read_text(errors='replace'))}")
        self._measured.figures["dispatch_p50_ms"] = percentile(found, 0.50)
        self._measured.figures["dispatch_p99_ms"] = percentile(found, 0.99)

    @contextlib.contextmanager
    def _place(self, *, organizations: int, slots: int, places: int = 0) -> Iterator[tuple[Setup, Path]]:
        """Yield an empty database with what stands beside it.

        Only with as many places as all organizations have slots, and several of them, are their limits measured.
        """
        database = self._home.database(f"peer-{self._participant.name}")
        memory = Path(tempfile.mkdtemp(prefix="bench-peers-", dir=MEMORY if MEMORY.is_dir() else None))
        try:
            setup = Setup(
                place=database.address,
                records=str(memory / "records"),
                port=free_port(),
                organizations=organizations,
                slots=slots,
                limited=organizations > 1 and places > 0,
                places=places,
            )
            yield setup, memory / "log"
        finally:
            self._home.forget(database)
            shutil.rmtree(memory)

    def _fill(self, setup: Setup, log: Path, filling: Filling) -> Filled:
        return Filled(**self._client(setup, log, "fill", asdict(filling)))

    def _client(self, setup: Setup, log: Path, role: str, asked: dict[str, Any]) -> Any:
        command, environment = self._command(setup, role, json.dumps(asked))
        with log.open("ab") as errors:
            try:
                done = subprocess.run(
                    command,
                    check=False,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                    cwd=ROOT,
                    timeout=CLIENT_SECONDS,
                )
            except subprocess.TimeoutExpired as error:
                raise PeerFault(f"its {role} did not end in {CLIENT_SECONDS:.0f} s") from error
        if done.returncode:
            raise PeerFault(f"its {role} failed: {last_line(log.read_text(errors='replace'))}")
        return json.loads(done.stdout.splitlines()[-1])

    @contextlib.contextmanager
    def _worker(self, setup: Setup, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run the peer's worker while the block runs, with all its child processes.

        A peer is killed, because nothing of it is needed any more. fairlane ends in order: its workers are in process
        groups of their own.
        """
        command, environment = self._command(setup, "work")
        with log.open("ab") as output:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            yield worker
        finally:
            if self._participant.is_fairlane:
                worker.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(END_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()

    def _command(self, setup: Setup, *arguments: str) -> tuple[list[str], dict[str, str]]:
        module = self._participant.module or f"benchmarks.peers.{self._participant.adapter}"
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FAIRLANE_", "PYTHONDONTWRITEBYTECODE"))
        }
        environment = clean | {SETUP_VARIABLE: json.dumps(asdict(setup))}
        return [self._python, "-m", module, *arguments], environment

    def _spans(self, setup: Setup, worker: "subprocess.Popen[bytes]", *, count: int, seconds: float) -> list[Span]:
        """Wait until the tasks have run, at most this long after the first one, and return what they recorded."""
        records = Path(setup.records)
        give_up_at = time.perf_counter() + FIRST_START_SECONDS
        while not read_spans(records):
            if worker.poll() is not None:
                raise PeerFault(f"the worker ended: {last_line((records.parent / 'log').read_text(errors='replace'))}")
            if time.perf_counter() > give_up_at:
                raise PeerFault(f"no task started in {FIRST_START_SECONDS:.0f} s")
            time.sleep(WATCH_SECONDS)
        until = read_spans(records)[0].began_at + int(seconds * SECOND)
        while records.stat().st_size < count * RECORD.size and time.monotonic_ns() < until:
            time.sleep(WATCH_SECONDS)
        return read_spans(records)
