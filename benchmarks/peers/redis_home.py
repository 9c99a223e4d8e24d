"""A Redis of its own for each measurement: Debian's ``redis-server`` with an append-only file and one fsync policy."""

import itertools
import shutil
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.homes import Database
from benchmarks.peers.faults import PeerFault

START_SECONDS = 20.0
END_SECONDS = 20.0


class RedisHome:
    """Servers on free ports of the loopback, each in a folder of its own."""

    def __init__(self, directory: Path, policy: str) -> None:
        self.directory = directory
        self._policy = policy
        self._numbers = itertools.count()
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def database(self, name: str) -> Database:
        """Start an empty one.

        Raises:
            PeerFault: there is no ``redis-server``, or it does not start.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise PeerFault("no redis-server on the path")
        folder = self.directory / f"redis-{self._policy}-{name}-{next(self._numbers)}"
        folder.mkdir()
        port = free_port()
        flags = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--daemonize", "no"]
        flags += ["--appendonly", "yes", "--appendfsync", self._policy, "--save", ""]
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *flags], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        address = f"redis://127.0.0.1:{port}/0"
        self._running[address] = process, folder
        give_up_at = time.perf_counter() + START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() > give_up_at:
                self.forget(Database(address, log))
                raise PeerFault("redis-server did not start")
            time.sleep(0.01)
        return Database(address, log)

    def forget(self, database: Database) -> None:
        """End it, and remove its files."""
        process, folder = self._running.pop(database.address)
        process.kill()
        process.wait(END_SECONDS)
        shutil.rmtree(folder)

    def facts(self) -> dict[str, str]:
        """What to print above the figures."""
        if program := shutil.which("redis-server"):
            words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()
            return {"redis": " ".join(word for word in words if word.startswith("v=")).removeprefix("v=")}
        return {}


def free_port() -> int:
    """Return a port of the loopback on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
