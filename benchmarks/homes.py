"""Where the databases of a run stand: SQLite files in its folder, or a PostgreSQL that it brings along."""

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from benchmarks.machine import filesystem, syncs_per_second
from tests.cluster import join


@dataclass(frozen=True)
class Database:
    """One database of a benchmark, and the log of the server on it."""

    address: str
    log: Path


class Home(Protocol):
    """One kind of database, as the scenarios see it."""

    directory: Path
    """For other files of a scenario."""
    peer: str
    """The other queue on this kind of database, as ``benchmarks.peers`` names it, with every commit synced."""

    def database(self, name: str) -> Database:
        """A new and empty one."""

    def forget(self, database: Database) -> None:
        """It is not needed any more."""


class SqliteHome:
    """A file each."""

    peer = "huey"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def database(self, name: str) -> Database:
        """A file in the folder of the run."""
        return Database(f"sqlite:///{self.directory / name}.db", self.directory / f"{name}.log")

    def forget(self, database: Database) -> None:
        """Remove the file and those beside it."""
        path = Path(database.address.removeprefix("sqlite:///"))
        for one in path.parent.glob(f"{path.name}*"):
            one.unlink()


class PostgresHome:
    """A server of our own as it is configured by default: every commit waits for its sync."""

    peer = "pgqueuer"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # One of this run alone: what a killed run left behind is gone with its server.
        self._cluster = join(f"bench-{os.getpid()}")

    def facts(self) -> dict[str, str]:
        """What to print above the figures."""
        found = dict(asyncio.run(_ask(self._cluster.address, SHOWN)))
        place = self._cluster.folder
        with tempfile.TemporaryDirectory(dir=place) as folder:
            disk = f"{filesystem(place)}, {syncs_per_second(Path(folder)):,.0f} synced 4 KiB writes/s"
        return {"postgresql": ", ".join(f"{name} {value}" for name, value in found.items()) + f"; on {disk}"}

    def database(self, name: str) -> Database:
        """A database of the server."""
        named = "bench_" + name.replace("-", "_")
        asyncio.run(_run(self._cluster.address, f'CREATE DATABASE "{named}"'))
        return Database(self._cluster.database(named), self.directory / f"{named}.log")

    def forget(self, database: Database) -> None:
        """Drop it."""
        named = database.address.split("/")[3].split("?")[0]
        asyncio.run(_run(self._cluster.address, f'DROP DATABASE IF EXISTS "{named}" WITH (FORCE)'))

    def leave(self) -> None:
        """The server ends with the last who uses it."""
        self._cluster.leave()


SHOWN = """
SELECT name, current_setting(name)
FROM unnest(ARRAY['server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers']) AS name
"""


async def _ask(address: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(address)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def _run(address: str, sql: str) -> None:
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
