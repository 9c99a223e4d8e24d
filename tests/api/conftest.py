"""A server shared by the tests that only need organizations of their own, and a fresh one for those that need more."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlane.api import callers, parking, waiting
from tests import postgres
from tests.api.house import Customer, House


@contextmanager
def a_database(kind: str) -> Iterator[dict[str, Any]]:
    """The setting that names it; none: a file in the house's own folder."""
    if kind == "sqlite":
        yield {}
        return
    address = postgres.lend()
    try:
        yield {"database": address}
    finally:
        postgres.give_back(address)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, http_database: str) -> Iterator[House]:
    """One server for all tests of a process that leave nothing running and change nothing global."""
    with a_database(http_database) as chosen, House(tmp_path_factory.mktemp("shared"), **chosen) as house:
        yield house


@pytest.fixture
def customer(shared: House) -> Iterator[Customer]:
    """A new organization on the shared server."""
    made = shared.customer()
    with made.client:
        yield made


@pytest.fixture
def a_house(tmp_path: Path, http_database: str) -> Iterator[Callable[..., House]]:
    """Start a server of one's own, with settings."""
    with ExitStack() as stack:
        chosen = stack.enter_context(a_database(http_database))

        def start(**settings: Any) -> House:
            return stack.enter_context(House(tmp_path, **(chosen | settings)))

        yield start


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is woken or waits on: no look once a second finds what a hint should have told.

    Ask for it by a mark, so that it is there before the server starts.
    """
    for module in (parking, waiting, callers):
        monkeypatch.setattr(module, "POLL_SECONDS", 600.0)


@pytest.fixture
def house(a_house: Callable[..., House]) -> House:
    """A server of one's own."""
    return a_house()


@pytest.fixture
def a_file_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """The same on a SQLite file: for what is about the file."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(House(tmp_path, **settings))


@pytest.fixture
def file_house(a_file_house: Callable[..., House]) -> House:
    """A server of one's own on a SQLite file."""
    return a_file_house()
