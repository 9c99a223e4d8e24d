"""A server shared by the tests that only need organizations of their own, and a fresh one for those that need more."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.api.house import Customer, House


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server for all tests of a process that leave nothing running and change nothing global."""
    with House(tmp_path_factory.mktemp("shared")) as house:
        yield house


@pytest.fixture
def customer(shared: House) -> Iterator[Customer]:
    """A new organization on the shared server."""
    made = shared.customer()
    with made.client:
        yield made


@pytest.fixture
def a_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Start a server of one's own, with settings."""
    with ExitStack() as stack:

        def start(**settings: Any) -> House:
            return stack.enter_context(House(tmp_path, **settings))

        yield start


@pytest.fixture
def house(a_house: Callable[..., House]) -> House:
    """A server of one's own."""
    return a_house()
