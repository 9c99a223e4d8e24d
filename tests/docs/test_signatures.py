"""The signatures that the pages show are those of the code: a call that a page allows is never a TypeError."""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fairlane
from fairlane import Context, Fail, Fairlane, Retry
from fairlane.client import AsyncClient, Client, verify
from fairlane.fetching import Fetcher
from fairlane.testing import Engine
from tests.tables import each

DOCS = Path(__file__).parents[2] / "docs"
HANDLERS = {"Fail": Fail, "Retry": Retry, "Fairlane": Fairlane, "Fetcher": Fetcher}
OWNERS: dict[str, list[Any]] = {
    "reference/handlers.md": [HANDLERS, Fairlane, Context, Fetcher],
    "reference/client.md": [{"verify": verify, "Client": Client}, Client, AsyncClient],
    "guides/testing.md": [Engine, Client],
}
ELLIPSIS = "…"


def shown() -> list[tuple[str, str, str]]:
    """Page, name and parameters of every signature in backquotes outside of code blocks."""
    found = []
    for page in OWNERS:
        prose = re.sub(r"^```.*?^```", "", (DOCS / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        found += [(page, name, inner) for name, inner in re.findall(r"`(?:await )?(?:\w+\.)*(\w+)\(([^`]*)\)`", prose)]
    return found


def callables(page: str, name: str) -> list[Callable[..., Any]]:
    """What the page may mean by a name."""
    found = [owner.get(name) if isinstance(owner, dict) else getattr(owner, name, None) for owner in OWNERS[page]]
    known = [one for one in found if callable(one)]
    return known if page == "reference/client.md" else known[:1]


def is_signature(inner: str) -> bool:
    """Whether these are parameters, not the arguments of an example such as ``submit("X", Text())``."""
    return '"' not in inner and "[" not in inner


NOT_OURS = {"all_tasks", "monotonic", "sorted"}


@each("page, name, inner", [one for one in shown() if is_signature(one[2]) and one[1] not in NOT_OURS])
def test_a_shown_signature_is_true(page: str, name: str, inner: str) -> None:
    """Order, defaults, and what may be given by position: whatever stands before ``*``."""
    known = callables(page, name)
    assert known, f"{page}: {name} is not there"
    for function in known:
        parameters = {name: one for name, one in inspect.signature(function).parameters.items() if name != "self"}
        signature = inspect.Signature(list(parameters.values()))
        positional, named = _arguments(inner)
        if page.startswith("guides"):  # Guides show calls, and what stands with a value is given by name.
            named |= dict.fromkeys(one for one, value in positional.items() if value is not None)
            positional = {one: None for one in positional if one not in named}
        values = {name: object() for name in (*positional, *named)}
        bound = signature.bind(*(values[one] for one in positional), **{one: values[one] for one in named})

        assert {one: bound.arguments[one] for one in values} == values, f"{page}: {name}({inner})"
        for one, default in {**positional, **named}.items():
            if default is not None:
                assert parameters[one].default == ast.literal_eval(default), f"{page}: {name}: {one}"


def _arguments(inner: str) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Names with their shown defaults: those that may be given by position, and those after ``*``."""
    positional: dict[str, str | None] = {}
    named: dict[str, str | None] = {}
    into = positional
    for part in (part.strip() for part in inner.split(",")):
        if part == "*":
            into = named
        elif part and part != ELLIPSIS:
            name, _, default = part.partition("=")
            into[name] = default if default and default != ELLIPSIS else None
    return positional, named


def test_signatures_are_found() -> None:
    """The search did not go blind; and every signal is shown with all of its parameters."""
    found = {(name, inner) for _, name, inner in shown()}

    assert len(found) > 35
    assert {("Fail", "code, message, details=None"), ("Retry", "reason, after=None")} <= found
    for name in ("Fail", "Retry"):
        [inner] = [inner for shown_name, inner in found if shown_name == name and is_signature(inner)]
        assert list(_arguments(inner)[0]) == list(inspect.signature(getattr(fairlane, name)).parameters)
