"""Every public name of the modules that programs import has a docstring that can be relied on."""

import ast
import builtins
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import fairlane.client
import fairlane.errors
import fairlane.testing
from tests.tables import each

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


@each("name", NAMES)
def test_a_public_name_has_a_docstring(name: str) -> None:
    """In the form of the pages: no other mark-up, all arguments or none, exceptions that can be caught."""
    value = NAMES[name]
    if inspect.isfunction(value) and value.__name__ == "__init__" and not value.__doc__:
        return  # The class says it.

    text = inspect.cleandoc(value.__doc__ or "")

    assert text
    assert not ROLE.search(text), text
    assert not re.search(r"^Example:", text, re.MULTILINE), "the site shows only what stands below Examples: as code"
    if inspect.isfunction(value) and (described := arguments(text)):
        assert set(described) == set(inspect.signature(value).parameters) - {"self"}
    for kind in raised(text):
        assert any(hasattr(module, kind) for module in (builtins, fairlane.errors, fairlane.client, fairlane.testing))


def undescribed(kind: type) -> Iterator[str]:
    """The fields of a record that may be None, or that are a moment as a number, without a docstring below them."""
    [node] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    for field, below in zip_longest(node.body, node.body[1:]):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            hint = ast.unparse(field.annotation)
            if not said and ("None" in hint or (field.target.id, hint) == ("at", "int")):
                yield field.target.id


@each("name", [name for name, value in NAMES.items() if isinstance(value, type)])
def test_a_field_that_may_be_none_says_when(name: str) -> None:
    """One that has a unit has it in its name, or in its docstring. Conditions that are not given have one docstring."""
    found = [] if name == "fairlane.client.TaskConditions" else list(undescribed(NAMES[name]))

    assert found == []


def test_names_were_found() -> None:
    """The search did not go blind."""
    assert {"fairlane.Fairlane.task", "fairlane.client.Client.submit", "fairlane.testing.Engine"} <= set(NAMES)
    assert arguments("A.\n\nArgs:\n    one: x\n        more: y\n    **two: z\n\nRaises:\n    ValueError: no") == [
        "one",
        "two",
    ]
    assert raised("A.\n\nRaises:\n    ValueError: no") == ["ValueError"]
