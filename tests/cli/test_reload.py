"""``fairlane serve --reload``: a changed handler is served, a broken one is said, the tasks stay."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlane.cli.reload import look, watched_folder
from fairlane.client import Client
from tests.cli.harness import READY, ROOT, Command, eventually

KEY = "sk_live_1234567890abcdef1234567890abcdef"
APP = """
from fairlane import Fairlane

app = Fairlane()


@app.task("VERSION")
def version(payload: dict) -> dict:
    return {{"version": {version}}}
"""


class Served:
    """A reloading server, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "app" / "mine.py"
        self.file.parent.mkdir()
        self._edits = 0
        self.write(APP.format(version=1))
        self.out, self.err = folder / "out", folder / "err"
        arguments = ["serve", f"{self.file}:app", "--reload", "--port", "0", "--places", "2"]
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fairlane", *arguments], stdout=out, stderr=err, cwd=ROOT
            )

    def write(self, text: str) -> None:
        """Change the application, at a moment that no file system takes for the last one."""
        self._edits += 1
        self.file.write_text(text)
        os.utime(self.file, ns=(self._edits * 10**9, self._edits * 10**9))

    def addresses(self, count: int) -> str:
        """The address of the ``count``-th start, once it is ready."""
        eventually(lambda: self.out.read_text().count(READY) >= count, seconds=30)
        ready = [line for line in self.out.read_text().splitlines() if line.startswith(READY)]
        return ready[count - 1].removeprefix(READY)

    def says(self, words: str) -> None:
        """Wait until it has said this."""
        eventually(lambda: words in self.err.read_text(), seconds=30)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A reloading server on the test's database."""
    made = Served(tmp_path)
    with made.process:
        try:
            yield made
        finally:
            made.process.terminate()
            made.process.wait(30)


def test_a_change_is_served_and_the_database_stays(fairlane: Command, served: Served) -> None:
    """New handlers run, old results are still there; a broken file ends nothing for good."""
    first = served.addresses(1)
    fairlane("organizations", "create", "acme")
    fairlane("keys", "create", "acme", "--value", "-", stdin=KEY)
    with Client(first, KEY) as client:
        task = client.submit("VERSION", {})
        assert client.wait(task, timeout_seconds=20).response == {"version": 1}

    served.write(APP.format(version=2))
    with Client(served.addresses(2), KEY) as client:
        assert client.run("VERSION", {}, timeout_seconds=20) == {"version": 2}
        assert client.task(task).response == {"version": 1}
    served.write("this is no Python\n")
    served.says("the application cannot be used")
    served.write(APP.format(version=3))
    with Client(served.addresses(3), KEY) as client:
        assert client.run("VERSION", {}, timeout_seconds=20) == {"version": 3}

    served.says("mine.py changed: restarting the server; the database stays")
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0


def test_what_no_change_mends_ends_it(served: Served, tmp_path: Path) -> None:
    """A database that another server owns: exit code 5, as without ``--reload``."""
    served.addresses(1)
    command = [sys.executable, "-m", "fairlane", "serve", f"{served.file}:app", "--reload", "--port", "0"]

    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=40, check=False)

    assert second.returncode == 5


def test_a_descriptor_cannot_be_served_twice(fairlane: Command) -> None:
    """``--fd`` belongs to one process."""
    ran = fairlane("serve", "examples.quickstart:app", "--reload", "--fd", "3")

    assert ran.code == 2


def test_only_the_applications_python_files_are_watched(tmp_path: Path) -> None:
    """No environments, caches, hidden folders or other files."""
    for name in ("a.py", "b/c.py", "b/d.txt", ".hidden/e.py", "__pycache__/f.py", "env/pyvenv.cfg", "env/g.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")

    seen = look(tmp_path)

    assert sorted(seen) == [str(tmp_path / "a.py"), str(tmp_path / "b" / "c.py")]


def test_the_folder_is_that_of_the_file_or_of_the_outermost_package(tmp_path: Path) -> None:
    """A module beside others is watched with its neighbours."""
    (tmp_path / "pack").mkdir()

    assert watched_folder("sub/mine.py:app", tmp_path) == tmp_path / "sub"
    assert watched_folder("pack.web.main:app", tmp_path) == tmp_path / "pack"
    assert watched_folder("mine:app", tmp_path) == tmp_path
