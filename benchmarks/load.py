"""HTTP load on the loopback from one process: N keep-alive connections, one request under way on each.

Run as a program of its own (``python -m benchmarks.load``), so that it shares no interpreter lock with what it
measures. It speaks just enough HTTP/1.1 for our own servers: answers with a content length, never chunked.
"""

import argparse
import base64
import json
import random
import select
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self
from urllib.parse import urlsplit

ANSWER_SECONDS = 30.0
RECEIVE_BYTES = 1 << 16
SAMPLES_MOST = 500_000
"""Latencies kept for the percentiles; beyond, a random part of them."""


@dataclass(frozen=True)
class Load:
    """What one run of load measured."""

    answered: int
    refused: int
    """Answers with another status than 200."""
    seconds: float
    per_second: float
    p50_us: float
    p99_us: float
    busy: float
    """Share of one core that the client itself used: near 1, the client was the limit."""


def request_bytes(method: str, path: str, *, key: str | None = None, body: bytes = b"") -> bytes:
    """One HTTP/1.1 request on a kept connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One kept connection to a TCP address or the path of a unix socket."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(ANSWER_SECONDS)
        self.socket.connect(address)
        if not isinstance(address, str):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        """Send one request; its answer has to be read before the next."""
        self.sent_at = time.perf_counter_ns()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Read what is there: status and body of the answer, or None while it is not complete."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._received = data
            return None
        start = data.find(b"content-length: ", 0, end) + 16
        if start < 16:
            raise ConnectionError(f"an answer without a content length: {data[:end]!r}")
        length = int(data[start : data.index(b"\r", start)])
        if len(data) < end + length:
            self._received = data
            return None
        self._received = b""
        return int(data[9:12]), data[end : end + length]

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request and wait for its answer."""
        self.send(request)
        while (answer := self.receive()) is None:
            pass
        return answer


def drive(url: str, requests: Sequence[bytes], *, connections: int, seconds: float, rate: float | None = None) -> Load:
    """Keep ``connections`` busy for ``seconds``; connection i sends request i modulo their number, again and again.

    With a ``rate``, at most so many requests per second are sent, and a request that is due waits for a connection.
    """
    target = urlsplit(url)
    address = (target.hostname or "127.0.0.1", target.port or 80)
    opened = [Connection(address) for _ in range(connections)]
    idle = deque(zip(opened, (requests[index % len(requests)] for index in range(connections)), strict=True))
    under_way: dict[int, tuple[Connection, bytes]] = {}
    poll = select.poll()
    for connection in opened:
        poll.register(connection.socket, select.POLLIN)
    latencies: list[int] = []
    statuses: Counter[int] = Counter()
    cpu_before, began_at = time.process_time(), time.perf_counter()
    end_at, sent = began_at + seconds, 0
    try:
        while (now := time.perf_counter()) < end_at or under_way:
            due = connections if rate is None else int((now - began_at) * rate) + 1 - sent
            while idle and due > 0 and now < end_at:
                connection, request = idle.popleft()
                under_way[connection.socket.fileno()] = connection, request
                connection.send(request)
                due, sent = due - 1, sent + 1
            for descriptor, _ in poll.poll(1 if rate else 100):
                connection, request = under_way[descriptor]
                answer = connection.receive()
                if answer is None:
                    continue
                latencies.append(time.perf_counter_ns() - connection.sent_at)
                statuses[answer[0]] += 1
                del under_way[descriptor]
                if rate is None and time.perf_counter() < end_at:
                    under_way[descriptor] = connection, request
                    connection.send(request)
                else:
                    idle.append((connection, request))
    finally:
        for connection in opened:
            connection.socket.close()
    elapsed = time.perf_counter() - began_at
    return _summary(latencies, statuses, seconds=elapsed, busy=(time.process_time() - cpu_before) / elapsed)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))]) if ordered else 0.0


class Program:
    """The load as a process of its own, while the block runs or until it is done."""

    def __init__(
        self,
        url: str,
        requests: Sequence[bytes],
        *,
        connections: int = 32,
        seconds: float,
        rate: float | None = None,
        cpu: int | None = None,
    ) -> None:
        plan = {
            "url": url,
            "requests": [base64.b64encode(request).decode() for request in requests],
            "connections": connections,
            "seconds": seconds,
            "rate": rate,
        }
        command = [sys.executable, "-m", "benchmarks.load"] + ([] if cpu is None else ["--cpu", str(cpu)])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(plan))
        self._process.stdin.close()

    def result(self) -> Load:
        """Wait for its end."""
        assert self._process.stdout is not None
        printed = self._process.stdout.read()
        self._process.stdout.close()
        if self._process.wait() != 0:
            raise RuntimeError("the load program failed; its error stands above")
        return Load(**json.loads(printed))


def _summary(latencies: list[int], statuses: Counter[int], *, seconds: float, busy: float) -> Load:
    kept = random.sample(latencies, SAMPLES_MOST) if len(latencies) > SAMPLES_MOST else latencies
    return Load(
        answered=len(latencies),
        refused=len(latencies) - statuses[200],
        seconds=seconds,
        per_second=len(latencies) / seconds,
        p50_us=percentile(kept, 0.50) / 1_000,
        p99_us=percentile(kept, 0.99) / 1_000,
        busy=busy,
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description="Load from standard input's plan; prints what it measured as JSON.")
    parser.add_argument("--cpu", type=int)
    cpu = parser.parse_args().cpu
    if cpu is not None:
        pin(cpu)
    plan = json.load(sys.stdin)
    requests = [base64.b64decode(request) for request in plan["requests"]]
    load = drive(plan["url"], requests, connections=plan["connections"], seconds=plan["seconds"], rate=plan["rate"])
    print(json.dumps(asdict(load)))


def pin(cpu: int) -> None:
    """Keep this process on one core, where the platform can."""
    from os import sched_setaffinity  # Missing on macOS.

    sched_setaffinity(0, {cpu})


if __name__ == "__main__":
    _main()
