"""Thousands of idle connections on a server whose system allows it a few hundred open files at first."""

import contextlib
import resource
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import RunningServer, start_server

FEW = 256
IDLE = 2_000
OURS = IDLE + 500


@contextlib.contextmanager
def files_allowed(soft: int) -> Iterator[None]:
    """So many open files for us, and for what is started meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_idle_connections_beyond_the_usual_limit_are_held(tmp_path: Path) -> None:
    """All of them are answered once and rest; then somebody else is served, and so are they."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < OURS:
        pytest.skip(f"this system allows no {OURS} open files")
    with files_allowed(FEW):
        process = start_server(tmp_path / "server.log", "--workers", "0")
    with process, files_allowed(OURS), contextlib.ExitStack() as stack:
        server = RunningServer(process, tmp_path / "server.log")
        stack.callback(server.stop)
        host, port = server.address.removeprefix("http://").split(":")
        idle = [stack.enter_context(socket.create_connection((host, int(port)), timeout=20)) for _ in range(IDLE)]
        for connection in idle:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        first = [_answer(connection) for connection in idle]
        with urllib.request.urlopen(f"{server.address}/livez", timeout=20) as answer:
            between = answer.status
        for connection in idle[::100]:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        again = [_answer(connection) for connection in idle[::100]]

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in first + again)
    assert between == 200


def _answer(connection: socket.socket) -> bytes:
    """The whole of it; a short one if the server hung up."""
    answer = b""
    while b'"alive"}' not in answer and (part := connection.recv(1_000)):
        answer += part
    return answer
