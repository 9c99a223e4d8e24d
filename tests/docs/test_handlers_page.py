"""The page for those who write handlers names everything that they can use."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fairlane
from fairlane import Context, Fairlane
from fairlane.fetching import Fetched, Fetcher

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "handlers.md").read_text("utf-8")


def section(name: str) -> str:
    """A part of the page by its heading."""
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, name
    return found[1]


def arguments(function: Callable[..., Any]) -> set[str]:
    """Names of a function's arguments."""
    return set(inspect.signature(function).parameters) - {"self"}


def rows(text: str) -> dict[str, str]:
    """The second cells of tables of three columns, by the names in the first ones."""
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \| [^|]* \|$", text, re.MULTILINE))


def test_every_public_name_is_on_the_page() -> None:
    """What the package exports, but for its version."""
    assert [name for name in fairlane.__all__ if f"`{name}" not in PAGE] == ["__version__"]


@pytest.mark.parametrize(("name", "function"), [("`Fairlane`", Fairlane.task), ("`Fetcher`", Fetcher.__init__)])
def test_every_argument_is_described_with_its_default(name: str, function: Callable[..., Any]) -> None:
    """Numbers as they are; a default that is computed has words."""
    described = rows(section(name))
    parameters = inspect.signature(function).parameters

    assert described.keys() == arguments(function)
    for argument, shown in described.items():
        default = parameters[argument].default
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert float(shown.replace(",", "")) == default, argument


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("`Fairlane`", {member for member in vars(Fairlane) if not member.startswith("_")}),
        (
            "`Context`",
            arguments(Context.__init__) | {member for member in vars(Context) if not member.startswith("_")},
        ),
        ("`Fetcher`", set(Fetched.__struct_fields__) | {"fetch"}),
    ],
)
def test_every_member_is_described(name: str, members: set[str]) -> None:
    """Attributes and methods."""
    assert {member for member in members if not re.search(rf"\b{member}\b", section(name))} == set()
