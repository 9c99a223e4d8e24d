"""Every public name of the modules that programs import has a docstring that can be relied on."""

import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fairlane.client
import fairlane.errors
import fairlane.testing

MODULES = ("fairlane", "fairlane.client", "fairlane.testing", "fairlane.fetching")
PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "python.md").read_text("utf-8")
ROLE = re.compile(r":\w+:`")


def public() -> Iterator[tuple[str, Any]]:
    """Each class, function, method and property that a program may use, with its dotted name."""
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found) or inspect.isclass(found):
                yield f"{module.__name__}.{name}", found
            if inspect.isclass(found):
                for member, value in vars(found).items():
                    if member.startswith("_") and member != "__init__":
                        continue
                    if inspect.isfunction(value) or isinstance(value, property):
                        yield f"{module.__name__}.{name}.{member}", value


NAMES = dict(public())


def arguments(text: str) -> list[str]:
    """The names below ``Args:``."""
    found = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return [] if found is None else re.findall(r"^    \*{0,2}(\w+):", found[1], re.MULTILINE)


def raised(text: str) -> list[str]:
    """The exceptions below ``Raises:``."""
    found = re.search(r"^Raises:\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return [] if found is None else re.findall(r"^    ([A-Z]\w+):", found[1], re.MULTILINE)


def test_the_page_shows_every_module() -> None:
    """Each is read by the site's builder."""
    assert re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE) == list(MODULES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_docstring(name: str) -> None:
    """In the form of the pages: no other mark-up, all arguments or none, exceptions that can be caught."""
    value = NAMES[name]
    if inspect.isfunction(value) and value.__name__ == "__init__" and not value.__doc__:
        return  # The class says it.

    text = inspect.cleandoc(value.__doc__ or "")

    assert text
    assert not ROLE.search(text), text
    if inspect.isfunction(value) and (described := arguments(text)):
        assert set(described) == set(inspect.signature(value).parameters) - {"self"}
    for kind in raised(text):
        assert any(hasattr(module, kind) for module in (builtins, fairlane.errors, fairlane.client, fairlane.testing))


def test_names_were_found() -> None:
    """The search did not go blind."""
    assert {"fairlane.Fairlane.task", "fairlane.client.Client.submit", "fairlane.testing.Engine"} <= set(NAMES)
    assert arguments("A.\n\nArgs:\n    one: x\n        more: y\n    **two: z\n\nRaises:\n    ValueError: no") == [
        "one",
        "two",
    ]
    assert raised("A.\n\nRaises:\n    ValueError: no") == ["ValueError"]
