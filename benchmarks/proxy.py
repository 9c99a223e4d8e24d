"""A distance to the database: a TCP proxy that holds each piece back for half a round trip, in each direction.

Run as a program of its own (``python -m benchmarks.proxy``), so that it shares no interpreter lock with what it
delays. Pieces keep their order, and any number of them is under way, as on a real line.
"""

import argparse
import asyncio
import selectors
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit, urlunsplit

from benchmarks.homes import Database
from benchmarks.servers import ServerProcess

BUFFERED_BYTES_MOST = 1 << 24


class DelayingProxy(ServerProcess):
    """The proxy as a process: the database of an address, this many milliseconds (there and back) away."""

    def __init__(self, database: Database, *, milliseconds: float) -> None:
        command = ["-m", "benchmarks.proxy", "--milliseconds", str(milliseconds), "--to", database.address]
        super().__init__(command, log=database.log.with_suffix(".proxy.log"))
        self._database = database

    def database(self) -> Database:
        """Return the same database, by way of this proxy."""
        parts = urlsplit(self._database.address)
        host, port = self.address
        netloc = f"{parts.netloc.rpartition('@')[0]}@{host}:{port}"
        return Database(urlunsplit(parts._replace(netloc=netloc, query="")), self._database.log)


class _End(asyncio.Protocol):
    """One end of a connection. What arrives at it leaves at the other end, after the delay."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=BUFFERED_BYTES_MOST)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._later(lambda transport: transport.write(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._later(lambda transport: transport.close())

    def _later(self, act: Callable[[asyncio.Transport], None]) -> None:
        # Timers of equal delays fire in the order in which they were set.
        self._loop.call_later(self._seconds, self._act, act)

    def _act(self, act: Callable[[asyncio.Transport], None]) -> None:
        if self.other is not None and self.other.transport is not None:
            act(self.other.transport)


async def _serve(to: str, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    target = urlsplit(to)
    folder = parse_qs(target.query).get("host", [""])[0]
    port = target.port or 5432

    async def dial(near: _End) -> None:
        far = _End(seconds)
        if folder:
            await loop.create_unix_connection(lambda: far, f"{folder}/.s.PGSQL.{port}")
        else:
            await loop.create_connection(lambda: far, target.hostname or "127.0.0.1", port)
        near.other, far.other = far, near
        assert near.transport is not None
        near.transport.resume_reading()

    dialing: set[asyncio.Task[None]] = set()

    class Near(_End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            assert self.transport is not None
            self.transport.pause_reading()
            task = loop.create_task(dial(self))
            dialing.add(task)
            task.add_done_callback(dialing.discard)

    server = await loop.create_server(lambda: Near(seconds), "127.0.0.1", 0)
    print(f"ready at http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def _main() -> None:
    parser = argparse.ArgumentParser(description="Delay a PostgreSQL; prints its own address, serves until it ends.")
    parser.add_argument("--to", required=True, help="the address of the database")
    parser.add_argument("--milliseconds", type=float, required=True, help="the round trip that is added")
    options = parser.parse_args()
    # epoll rounds each wait up to a whole millisecond; select does not.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve(options.to, options.milliseconds / 2_000))


if __name__ == "__main__":
    _main()
