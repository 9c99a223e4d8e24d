"""A server to stand in front of."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import House


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running server."""
    folder: Path = tmp_path_factory.mktemp("house")
    with House(folder) as house:
        yield house
