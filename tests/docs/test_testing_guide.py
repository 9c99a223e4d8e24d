"""The guide's tests are tests that run."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "testing.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHOWN: dict[str, Any] = {"__name__": "shown"}
exec(compile(BLOCKS[0], "docs/guides/testing.md", "exec"), SHOWN)


@pytest.mark.parametrize("name", [name for name in SHOWN if name.startswith("test_")])
def test_the_test_shown_passes(name: str) -> None:
    """As it stands on the page."""
    SHOWN[name]()


def test_the_fixture_shown_is_one() -> None:
    """With the application of the page."""
    names = dict(SHOWN)

    exec(compile(BLOCKS[1], "docs/guides/testing.md", "exec"), names)

    assert type(names["engine"]).__name__ == "FixtureFunctionDefinition"
