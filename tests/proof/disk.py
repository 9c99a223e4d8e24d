"""A disk that remembers: every write, sync, truncate and unlink of SQLite, and what a power cut could leave of them.

The model: a file keeps what it held at its last sync. Of what was written to it since then, a cut leaves nothing, all
up to some moment, some of the writes, or single sectors of them, in any order. A file's name is safe once its folder
was synced; until then a cut may forget a new file, or bring back a deleted one. Not modelled: a disk that lies about a
sync, and the shared memory beside the log, which SQLite builds anew.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import apsw

SECTOR_BYTES = 512
NAME = "fairlane-recording"
SYSTEM = apsw.vfs_names()[0]
"""SQLite's own access to files."""


class Kind(StrEnum):
    """What happened to the disk, or to a caller."""

    CREATE = "create"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    DELETE = "delete"
    SYNC_FOLDER = "sync folder"
    ACKNOWLEDGE = "acknowledge"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the journal, in the order in which it happened."""

    kind: Kind
    name: str = ""
    offset: int = 0
    data: bytes = b""
    fact: tuple[str, str] = ("", "")
    """What a caller was told: (what, of which task)."""


@dataclass(slots=True)
class Journal:
    """Everything that happened, while it is on."""

    events: list[Event] = field(default_factory=list)
    on: bool = True

    def add(self, event: Event) -> None:
        """Note it. Appending is atomic, so every thread may do it."""
        if self.on:
            self.events.append(event)

    def acknowledge(self, what: str, task_id: str) -> None:
        """Note that a caller was told this, so that no later cut may undo it."""
        self.add(Event(Kind.ACKNOWLEDGE, fact=(what, task_id)))


class RecordingDisk(apsw.VFS):
    """The system's own file access, with a journal of what it does to the files of one folder.

    It becomes SQLite's default until :meth:`remove`, so the product opens its files through it unchanged.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder = folder
        self.journal = journal
        super().__init__(NAME, base=SYSTEM, makedefault=True)

    def remove(self) -> None:
        """Let SQLite use the system's own again. Every file must be closed."""
        self.unregister()

    def known(self, path: str | None) -> str | None:
        """Return a file's name if it is one of the recorded folder that a restart would read."""
        if path is None or Path(path).parent != self.folder or path.endswith("-shm"):
            return None
        return Path(path).name

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        known = self.known(path)
        if known is None:
            return apsw.VFSFile(SYSTEM, name, flags)
        new = not Path(path).exists()
        file = RecordedFile(name, flags, known, self.journal)
        if new:
            self.journal.add(Event(Kind.CREATE, known))
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        known = self.known(filename)
        if known is not None:
            self.journal.add(Event(Kind.DELETE, known))
            if syncdir:
                self.journal.add(Event(Kind.SYNC_FOLDER))


class RecordedFile(apsw.VFSFile):
    """One open file of the recorded folder."""

    def __init__(self, name: Any, flags: list[int], known: str, journal: Journal) -> None:
        self._known = known
        self._journal = journal
        self._names_itself = bool(flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL))
        """SQLite syncs the folder with the first sync of a log that it created."""
        super().__init__(SYSTEM, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._journal.add(Event(Kind.WRITE, self._known, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._journal.add(Event(Kind.TRUNCATE, self._known, newsize))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._journal.add(Event(Kind.SYNC, self._known))
        if self._names_itself:
            self._names_itself = False
            self._journal.add(Event(Kind.SYNC_FOLDER))


class Cut(StrEnum):
    """What a power cut leaves of the writes that were not synced."""

    NOTHING = "nothing"
    PREFIX = "prefix"
    SUBSET = "subset"
    TORN = "torn sectors"
    REORDERED = "reordered"


@dataclass(slots=True)
class _File:
    safe: bytearray = field(default_factory=bytearray)
    """As of its last sync."""
    pending: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Disk:
    """The state of the folder at one moment of the journal, replayed event by event."""

    files: dict[str, _File] = field(default_factory=dict)
    """By name, as the running system sees them."""
    named: dict[str, _File] = field(default_factory=dict)
    """By name, as the folder was at its last sync."""
    told: set[tuple[str, str]] = field(default_factory=set)

    def replay(self, events: Iterable[Event]) -> None:
        """Advance over these events."""
        for event in events:
            match event.kind:
                case Kind.CREATE:
                    self.files[event.name] = _File()
                case Kind.WRITE | Kind.TRUNCATE:
                    self.files.setdefault(event.name, _File()).pending.append(event)
                case Kind.SYNC:
                    file = self.files.setdefault(event.name, _File())
                    for one in file.pending:
                        _apply(file.safe, one)
                    file.pending.clear()
                case Kind.DELETE:
                    self.files.pop(event.name, None)
                case Kind.SYNC_FOLDER:
                    self.named = dict(self.files)
                case Kind.ACKNOWLEDGE:
                    self.told.add(event.fact)

    def cut(self, how: Cut, *, strict: bool, chance: random.Random) -> dict[str, bytes]:
        """Return the files that a power cut leaves. ``strict``: names as of the folder's last sync."""
        return {
            name: bytes(_survivor(file, how, chance)) for name, file in (self.named if strict else self.files).items()
        }


def _survivor(file: _File, how: Cut, chance: random.Random) -> bytearray:
    left = bytearray(file.safe)
    pending = list(file.pending)
    match how:
        case Cut.NOTHING:
            pending = []
        case Cut.PREFIX:
            pending = pending[: chance.randint(0, len(pending))]
        case Cut.SUBSET:
            pending = [one for one in pending if chance.random() < 0.5]
        case Cut.TORN:
            pending = [part for one in pending for part in _sectors(one) if chance.random() < 0.7]
        case Cut.REORDERED:
            pending = [part for one in pending for part in _sectors(one) if chance.random() < 0.8]
            chance.shuffle(pending)
    for one in pending:
        _apply(left, one)
    return left


def _sectors(event: Event) -> list[Event]:
    """Return the same write, sector by sector."""
    if event.kind is not Kind.WRITE:
        return [event]
    parts: list[Event] = []
    start = 0
    while start < len(event.data):
        end = min(len(event.data), (event.offset + start) // SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - event.offset)
        parts.append(Event(Kind.WRITE, event.name, event.offset + start, event.data[start:end]))
        start = end
    return parts


def _apply(content: bytearray, event: Event) -> None:
    if event.kind is Kind.TRUNCATE:
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
        return
    end = event.offset + len(event.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[event.offset : end] = event.data
