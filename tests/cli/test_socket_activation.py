"""A server that is handed its listening socket: a restart refuses nobody."""

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import ROOT, Command, RunningServer


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that is listened on, held by somebody who outlives the servers."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held


def serve(fd: int, log: Path) -> RunningServer:
    """A server on this descriptor, ready."""
    arguments = ["serve", "examples.quickstart:app", "--fd", str(fd), "--workers", "0"]
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "fairlane", *arguments],
            stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT, pass_fds=(fd,),
        )  # fmt: skip
    return RunningServer(process, log)


def stop(server: RunningServer) -> int:
    """End it in order; its exit code."""
    assert server.process.stdout is not None
    with server.process.stdout:
        return server.stop()


def live(address: str) -> int:
    """The status of one request; waits for as long as it takes."""
    with urllib.request.urlopen(f"{address}/livez", timeout=30) as response:
        return int(response.status)


def test_no_request_is_refused_while_the_server_is_started_again(
    listening: socket.socket, tmp_path: Path, database: str
) -> None:
    """With the socket handed over, a request that comes while no server runs waits for the next one."""
    server = serve(listening.fileno(), tmp_path / "log")
    assert live(server.address) == 200
    assert stop(server) == 0

    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(live(server.address)))
    asking.start()
    again = serve(listening.fileno(), tmp_path / "log")
    asking.join(30)

    assert answers == [200]
    assert stop(again) == 0


@pytest.mark.parametrize("kind", ["a file", "a socket nobody listens on", "nothing"])
def test_a_descriptor_that_is_no_listening_socket_is_refused(fairlane: Command, kind: str, database: str) -> None:
    """The message names the descriptor; nothing hangs."""
    unbound = socket.socket()
    fd = {"a file": os.open("/dev/null", os.O_RDONLY), "a socket nobody listens on": unbound.fileno(), "nothing": 99}
    ran = subprocess.run(
        [sys.executable, "-m", "fairlane", "serve", "examples.quickstart:app", "--fd", str(fd[kind])],
        capture_output=True, text=True, cwd=ROOT, pass_fds=[] if kind == "nothing" else [fd[kind]], check=False,
        timeout=30,
    )  # fmt: skip
    os.close(fd["a file"])
    unbound.close()

    assert ran.returncode == 1
    assert f"descriptor {fd[kind]}" in ran.stderr
