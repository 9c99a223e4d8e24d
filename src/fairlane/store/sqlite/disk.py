"""The file of a SQLite database on its disk: its lock, its folder, what has to be synced, the kind of file system."""

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from fairlane.errors import DatabaseError, DatabaseOwned

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"}
)


class FileLock:
    """The lock of a database's owner: an exclusive lock on a file next to it."""

    def __init__(self, path: Path, wait_seconds: float = 2.0) -> None:
        """``path`` is the database."""
        self._database = path
        self._wait_seconds = wait_seconds
        self.fd = -1

    def take(self) -> None:
        """Make the folder if it is missing, and take the lock.

        Worker children inherit the descriptor. So the lock is free only when all children of the former owner have
        ended, which may take a moment after its end.

        Raises:
            DatabaseOwned: another process has it.
            DatabaseError: the folder cannot be used, or is on a network file system.
        """
        folder = self._database.parent
        try:
            make_folder(folder)
            _refuse_network_file_system(folder)
            self._take()
        except OSError as error:
            raise DatabaseError(f"cannot use {self._database}: {error.strerror}") from error

    def _take(self) -> None:
        path = lock_path(self._database)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up_at = time.monotonic() + self._wait_seconds
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self.fd, 0)
                return
            except BlockingIOError as error:
                if time.monotonic() > give_up_at:
                    owner = os.pread(self.fd, 4096, 0).decode(errors="replace").strip()
                    os.close(self.fd)
                    raise DatabaseOwned(
                        f"{self._database} is owned by another fairlane server{_named(owner)}; "
                        "one server owns a SQLite file: stop that one, or give another --database"
                    ) from error
                time.sleep(0.02)

    def describe(self, text: str) -> None:
        """Write into the lock file how to reach the owner.

        Raises:
            DatabaseError: the disk is full, or read-only.
        """
        try:
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, text.encode(), 0)
        except OSError as error:
            raise DatabaseError(f"cannot write {lock_path(self._database)}: {error.strerror}") from error

    def release(self) -> None:
        """Let another process own the database. What the file says of the owner may stay: only the lock counts."""
        with suppress(DatabaseError):
            self.describe("")
        os.close(self.fd)


def lock_path(path: Path) -> Path:
    """Return the path of the lock file next to a database file."""
    return path.with_name(path.name + ".lock")


def _named(owner: str) -> str:
    """Return in words which process has the lock, from the text that it wrote into the file."""
    try:
        facts = json.loads(owner)
        return f" (process {facts['pid']}{f', {where}' if (where := facts.get('address')) else ''})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents so that they survive a power cut."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for one in made:
        sync(one.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_network_file_system(folder: Path) -> None:
    """Refuse network file systems: locks and the shared memory of WAL are not safe across hosts."""
    kind = file_system_of(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseError(
            f"{folder} is on a network file system ({kind}): SQLite is not safe there, use a local disk"
        )


def file_system_of(folder: Path) -> str:
    """Return the kind of file system of a folder, or an empty text if it is unknown."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return ""
    here, best, kind = str(folder.resolve()) + "/", "", ""
    for line in mounts.read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].rstrip("/") + "/"
        if here.startswith(point) and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind
