"""Examples are served as their first lines say, by a process of its own with a worker, and called as customers do."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fairlane.admin.connection import ask
from fairlane.client import Client
from tests.cli.harness import RunningServer, start_server

Serve = Callable[..., Client]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve an example in this environment; returns an organization's client."""
    runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    for name in [name for name in os.environ if name.startswith(("FAIRLANE_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    database = f"sqlite:///{tmp_path / 'fairlane.db'}"
    monkeypatch.setenv("FAIRLANE_DATABASE", database)
    with ExitStack() as stack:

        def start(example: str, *, workers: int = 1, **environment: str) -> Client:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            log = tmp_path / "server.log"
            process = stack.enter_context(start_server(log, "--workers", str(workers), app=f"examples/{example}:app"))
            stack.callback(process.kill)
            server = RunningServer(process, log)
            stack.callback(server.stop)
            ask(database, "POST", "organizations", body={"name": "acme", "slots": 2})
            key = ask(database, "POST", "organizations", "acme", "keys", body={})["value"]
            monkeypatch.setenv("FAIRLANE_SERVER", server.address)
            return stack.enter_context(Client(server.address, key))

        yield start
    shutil.rmtree(runtime)
