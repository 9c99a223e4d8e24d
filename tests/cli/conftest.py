"""The command line against a database of its own, without a server and with one."""

import io
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlane.cli import main
from tests.cli.harness import ROOT, Command, Ran, RunningServer, start_server
from tests.store.databases import prepared_file
from tests.watching import WATCH


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The database that every command of a test uses, with a runtime directory short enough for sockets.

    It is there, as after the first start of a server, unless the test is marked ``nothing_yet``.
    """
    runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    for name in [name for name in os.environ if name.startswith("FAIRLANE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "fairlane.db"
    if request.node.get_closest_marker("nothing_yet") is None:
        shutil.copy(prepared_file(), path)
    address = f"sqlite:///{path}"
    monkeypatch.setenv("FAIRLANE_DATABASE", address)
    monkeypatch.chdir(ROOT)
    yield address
    shutil.rmtree(runtime)


@pytest.fixture
def fairlane(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run a command line in this process; what a server's start-up sets for the whole process is set back."""
    root, interval = logging.getLogger(), sys.getswitchinterval()
    handlers, level = root.handlers[:], root.level

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["fairlane", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else 0
        ran = Ran(code, *capsys.readouterr())
        command = f"fairlane {' '.join(arguments)} "
        WATCH.note(f"output {command}", ran.out.encode())
        WATCH.note(f"errors {command}", ran.err.encode())
        return ran

    yield run
    root.handlers[:], root.level = handlers, level
    sys.setswitchinterval(interval)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server without workers on the test's database."""
    yield from running(tmp_path, "--json", "--workers", "0")


@pytest.fixture
def working_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server with one worker on the test's database."""
    yield from running(tmp_path, "--workers", "1")


def running(folder: Path, *flags: str, app: str = "examples.quickstart:app") -> Iterator[RunningServer]:
    """A server, ended with the test."""
    with start_server(folder / "server.log", *flags, app=app) as process:
        server = None
        try:
            server = RunningServer(process, folder / "server.log")
            yield server
        finally:
            process.kill() if server is None else server.stop()
