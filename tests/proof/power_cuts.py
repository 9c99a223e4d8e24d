"""Power cuts: the product's own store works on a disk that remembers, and every image that a cut could leave is opened.

An image fails if something that a caller was told is not there, if SQLite finds damage, or if a count differs from its
rows. Run as a module it takes the number of images: ``python -m tests.proof.power_cuts 20000``.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import apsw

from fairlane.model.leases import Completed, Ending, Exchange, Failed, Report, ReportVerdict
from fairlane.model.organizations import OrganizationChange, Overrides
from fairlane.model.status import Drift
from fairlane.model.tasks import Accepted, TaskStatus
from fairlane.settings import Settings
from fairlane.store import Store, new_id
from fairlane.store.recount import count_states, recount
from fairlane.store.sqlite import SqliteDatabase, writing
from fairlane.store.statements import Operation
from tests.builders import ACTOR, PAGE, a_catalogue, a_session, a_task
from tests.proof.disk import Cut, Disk, Event, Journal, Kind, RecordingDisk
from tests.store.databases import Clock

ROUNDS = 25
"""Rounds of work in one recording."""
CUTS = 500
"""Images made from one recording."""
RESTARTS_EACH = 10
"""Each image of this many is opened by a whole store, as at a server's start; all are recounted."""
ACCEPTED = "accepted"
ENDINGS: tuple[Ending, ...] = (Completed('{"a":1}'), Completed('{"b":2}'), Failed(cause="x", retry=False))
SHORT_LOG_PAGES = 60
"""In every second recording the log is copied into the file from this length on, so that cuts meet checkpoints."""


@dataclass
class Result:
    """What became of the images."""

    images: int = 0
    empty: int = 0
    """Images of a moment at which nobody had been told anything yet."""
    kinds: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    """One line for each image that failed, with what replays it."""

    def add(self, other: "Result") -> None:
        """Count what another run found."""
        self.images += other.images
        self.empty += other.empty
        self.kinds += other.kinds
        self.losses += other.losses


def run(images: int, *, seed: int = 0, synchronous: str | None = None) -> Result:
    """Check this many images. A recording is named by its seed, an image by its recording and number.

    ``synchronous`` replaces the store's own setting: a control, which must lose something.
    """
    found = Result()
    while found.images < images:
        events = record(seed, synchronous=synchronous)
        found.add(check(events, seed=seed, images=min(CUTS, images - found.images)))
        seed += 1
    return found


def record(seed: int, *, synchronous: str | None = None) -> list[Event]:
    """Return the journal of one store from its creation on, under load."""
    journal = Journal()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlane-cuts-"))) / "data"
        disk = RecordingDisk(folder, journal)
        stack.callback(disk.remove)
        if seed % 2:
            stack.enter_context(mock.patch.object(writing, "CHECKPOINT_PAGES", SHORT_LOG_PAGES))
        stack.enter_context(_folder_syncs(folder, journal))
        if synchronous is not None:
            stack.enter_context(_synchronous(synchronous))
        asyncio.run(_work(folder, journal, random.Random(seed)))
    return journal.events


@contextmanager
def _folder_syncs(folder: Path, journal: Journal) -> Iterator[None]:
    """Note the store's own syncs of the folder, which do not pass through SQLite."""
    real = os.fsync

    def sync(descriptor: int) -> None:
        real(descriptor)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            journal.add(Event(Kind.SYNC_FOLDER))

    with mock.patch.object(os, "fsync", sync):
        yield


@contextmanager
def _synchronous(value: str) -> Iterator[None]:
    """Every connection of the store gets another setting than it asks for."""

    class Connection(apsw.Connection):
        def execute(self, statements: str, *arguments: object, **named: object) -> object:  # type: ignore[override]
            if statements.startswith("PRAGMA synchronous"):
                statements = f"PRAGMA synchronous = {value}"
            return super().execute(statements, *arguments, **named)  # type: ignore[arg-type]

    with mock.patch.object(apsw, "Connection", Connection):
        yield


async def _work(folder: Path, journal: Journal, chance: random.Random) -> None:
    clock = Clock()
    store = await Store.open(Settings(database=f"sqlite:///{folder / 'fairlane.db'}"), a_catalogue(), now=clock)
    try:
        organizations = [
            await store.organizations.create(
                f"o{number}", plan="default", overrides=Overrides(slots=number + 1), actor=ACTOR
            )
            for number in range(3)
        ]
        worker = a_session((PAGE,), places=8)
        await store.sessions.open(worker)
        held: list[str] = []
        known: dict[str, tuple[int, str]] = {}

        async def submit() -> None:
            organization = chance.choice(organizations)
            tasks = [a_task(PAGE, priority=chance.choice([1, 10])) for _ in range(chance.choice([1, 1, 1, 20]))]
            verdicts = await store.tasks.submit(organization.id, tasks)
            for task, verdict in zip(tasks, verdicts, strict=True):
                if isinstance(verdict, Accepted):
                    journal.acknowledge(ACCEPTED, task.id)
                    known[task.id] = (organization.id, task.id)

        async def exchange() -> None:
            ending = chance.choice(ENDINGS)
            reports = tuple(Report(lease, ending) for lease in held)
            one = Exchange(session_id=worker.id, id=new_id(), places=chance.randint(0, 8), reports=reports)
            tasks = {lease: task for lease, task in leased.items() if lease in held}
            reply = await store.leases.exchange(one)
            for lease, verdict in zip(held, reply.verdicts, strict=True):
                status = TaskStatus.COMPLETED if isinstance(ending, Completed) else TaskStatus.FAILED
                if verdict is ReportVerdict.ACCEPTED and tasks[lease] not in canceled:
                    journal.acknowledge(status.value, tasks[lease])
            held[:] = [lease.id for lease in reply.leases]
            leased.update({lease.id: lease.task_id for lease in reply.leases})

        async def cancel() -> None:
            waiting = [task for task in known if task not in leased.values() and task not in canceled]
            if waiting:
                task = chance.choice(waiting)
                canceled.add(task)
                view = await store.tasks.cancel(*known[task])
                if view.status is TaskStatus.FAILED:
                    journal.acknowledge(TaskStatus.FAILED.value, task)

        async def change() -> None:
            organization = chance.choice(organizations)
            await store.organizations.change(
                organization.name, changes=OrganizationChange(slots=chance.randint(1, 6)), actor=ACTOR
            )

        leased: dict[str, str] = {}
        canceled: set[str] = set()
        for _ in range(ROUNDS):
            clock.advance(0.1)
            await asyncio.gather(*(submit() for _ in range(chance.randint(0, 5))), exchange())
            if chance.random() < 0.4:
                await cancel()
            if chance.random() < 0.2:
                await change()
    finally:
        journal.on = False  # A cut comes while the store is open.
        await store.close()


def check(events: list[Event], *, seed: int, images: int) -> Result:
    """Open this many images of one recording, cut at moments spread over it by chance."""
    chance = random.Random(f"images {seed}")
    told = next(number for number, event in enumerate(events) if event.kind is Kind.ACKNOWLEDGE)
    # One cut in ten comes while the database is created, the others later.
    moments = sorted(
        chance.randint(1, told) if chance.random() < 0.1 else chance.randint(told, len(events)) for _ in range(images)
    )
    found = Result()
    disk, at = Disk(), 0
    with tempfile.TemporaryDirectory(prefix="fairlane-cut-") as text, asyncio.Runner() as runner:
        for number, moment in enumerate(moments):
            disk.replay(events[at:moment])
            at = moment
            how, strict = chance.choice(list(Cut)), chance.random() < 0.5
            files = disk.cut(how, strict=strict, chance=chance)
            folder = Path(text) / str(number)
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            found.images += 1
            found.empty += not disk.told
            found.kinds[f"{how}, names {'strict' if strict else 'lax'}"] += 1
            try:
                trouble = runner.run(_trouble(folder, disk.told, restarts=number % RESTARTS_EACH == 0))
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
            if trouble:
                found.losses.append(f"seed {seed} image {number} event {moment} {how} strict={strict}: {trouble}")
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    return found


async def _trouble(folder: Path, told: set[tuple[str, str]], *, restarts: bool) -> str:
    """Return what is wrong with an image, or an empty text.

    SQLite reads the log as it does after any crash. With ``restarts`` a whole server's store opens the image first.
    """
    path = folder / "fairlane.db"
    if restarts:
        store = await Store.open(Settings(database=f"sqlite:///{path}"), a_catalogue(), now=Clock())
        await store.close()
    _, counted = await SqliteDatabase(path, now=Clock()).look(_count())
    if counted is None:
        return f"no tables, and {len(told)} facts were told" if told else ""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        damage = connection.execute("PRAGMA integrity_check").fetchall()
        tasks = {row[0] for row in connection.execute("SELECT id FROM task")}
        ended = {(row[0], row[1]) for row in connection.execute("SELECT status, task_id FROM outcome")}
    finally:
        connection.close()
    lost = [fact for fact in told if fact not in ended and (fact[0] != ACCEPTED or fact[1] not in tasks)]
    if lost:
        return f"{len(lost)} of {len(told)} lost"
    if damage != [("ok",)]:
        return f"damaged: {damage[:3]}"
    drift, states = counted
    if drift:
        return f"counts differ: {drift[:3]}"
    return "" if set(states) <= {1} else f"tasks in several states: {states}"


def _count() -> Operation[tuple[list[Drift], dict[int, int]]]:
    """Recount everything, and count in how many states each task is."""
    drift = yield from recount(None)
    return drift, (yield from count_states())


def main() -> int:
    """Check images until the wanted number, then the control; print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=int)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    began = time.monotonic()
    found = run(chosen.images, seed=chosen.seed)
    seconds = time.monotonic() - began
    print(f"power cuts: {found.images} images in {seconds:.0f} s, {len(found.losses)} lost something")
    for kind, count in sorted(found.kinds.items()):
        print(f"  {count:6} {kind}")
    print(f"  {found.empty:6} of them before anything was acknowledged")
    for line in found.losses[:10]:
        print(f"  LOST {line}")
    control = run(CUTS, seed=chosen.seed, synchronous="NORMAL")
    print(f"  control, synchronous = NORMAL: {len(control.losses)} of {control.images} lost something")
    return bool(found.losses) or not control.losses


if __name__ == "__main__":
    sys.exit(main())
