"""The servers under measurement, each a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from benchmarks.filling import ADMIN_KEY
from benchmarks.homes import Database
from benchmarks.load import Connection, pin, request_bytes

READY_SECONDS = 120.0
END_SECONDS = 30.0
QUIET = {"FAIRLANE_LOG_LEVEL": "WARNING", "FAIRLANE_RATE_LIMIT": str(10**9), "FAIRLANE_PUBLIC_ADMIN": "1"}
"""The settings of every server here: nothing is refused for its rate, and the log says only what went wrong."""


class ServerProcess:
    """A program that prints its address and then serves until it is told to end."""

    def __init__(
        self, command: list[str], *, log: Path, cpu: int | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRLANE_")}
        preparation: Callable[[], None] | None = None if cpu is None else lambda: pin(cpu)
        self._spawned_at = time.perf_counter()
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=clean | dict(environment or {}),
                start_new_session=True,
                preexec_fn=preparation,  # noqa: PLW1509 - there are no threads here
            )
        self.url = self._ready_url()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        target = urlsplit(self.url)
        assert target.hostname
        assert target.port
        return target.hostname, target.port

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def startup_seconds(self) -> float:
        """Seconds from the start of the process to the first successful answer of ``/readyz``."""
        request = request_bytes("GET", "/readyz")
        while time.perf_counter() < self._spawned_at + READY_SECONDS:
            with Connection(self.address) as connection:
                if connection.ask(request)[0] == 200:
                    return time.perf_counter() - self._spawned_at
            time.sleep(0.002)
        raise RuntimeError(self._complaint("did not become ready"))

    def resident_bytes(self) -> int:
        """Memory that this process holds now, without its children."""
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
            return int(found[1]) * 1024 if found else 0
        return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(self.pid)])) * 1024

    def end(self) -> None:
        """End it in order, and if that does not work, at once."""
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(self._complaint("did not end")) from None
        finally:
            self._process.stdout.close()

    def _ready_url(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(rb"ready at (http://\S+)", line):
                return found[1].decode()
        self._process.wait()
        raise RuntimeError(self._complaint("did not start"))

    def _complaint(self, what: str) -> str:
        log = self._log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join([f"the server {what}; the end of its log:", *log])


class Fairlane(ServerProcess):
    """``fairlane serve`` on a database of the benchmark."""

    def __init__(
        self,
        database: Database,
        *,
        workers: int,
        places: int = 10,
        cpu: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        flags = ["--database", database.address, "--port", "0"]
        flags += ["--workers", str(workers), "--places", str(places)]
        command = ["-m", "fairlane", "serve", "benchmarks.app:app", *flags]
        super().__init__(command, log=database.log, cpu=cpu, environment=QUIET | dict(environment or {}))
        self._admin = Connection(self.address)

    def end(self) -> None:
        """Close the admin connection first, so that nothing holds the server up."""
        self._admin.socket.close()
        super().end()

    def ask_admin(self, method: str, path: str, body: object = None) -> Any:
        """One request to the admin API."""
        content = b"" if body is None else json.dumps(body).encode()
        status, answer = self._admin.ask(request_bytes(method, f"/admin/v1/{path}", key=ADMIN_KEY, body=content))
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer.decode()}")
        return json.loads(answer)


class Constant(ServerProcess):
    """The constant body behind the same listener."""

    def __init__(self, *, log: Path, cpu: int | None = None) -> None:
        super().__init__(["-m", "benchmarks.constant"], log=log, cpu=cpu)
