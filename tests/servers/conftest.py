"""Two equal servers on one PostgreSQL database, in this process; and a PostgreSQL of one's own, to be killed."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import postgres
from tests.api.house import House
from tests.cluster import Cluster, find_programs, join


class Pair(NamedTuple):
    """Two servers. What is done through one must be true at the other."""

    a: House
    b: House


Houses = Callable[..., Pair]
_numbers = itertools.count(1)


def addresses(database: str) -> tuple[str, str]:
    """Two ways to write one database's address: servers in one process need runtime directories of their own."""
    more = "&" if "?" in database else "?"
    return database, f"{database}{more}application_name=b"


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[Houses]:
    """Start two servers, with settings, on one database."""
    with ExitStack() as stack:
        database = postgres.lend()
        stack.callback(postgres.give_back, database)

        def start(**settings: Any) -> Pair:
            started = [
                stack.enter_context(House(tmp_path, **({"database": address} | settings)))
                for address in addresses(database)
            ]
            return Pair(*started)

        yield start


@pytest.fixture
def pair(houses: Houses) -> Pair:
    """Two servers with the settings that everybody has."""
    return houses()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL that a test may kill, stop and start again."""
    if find_programs() is None:
        if os.environ.get("CI"):
            pytest.fail("nothing may be skipped here: there is no PostgreSQL to kill")
        pytest.skip("there is no PostgreSQL here to kill")
    cluster = join(f"outage-{postgres.RUN[:8]}-{os.getpid()}-{next(_numbers)}")
    try:
        yield cluster
    finally:
        cluster.leave()
