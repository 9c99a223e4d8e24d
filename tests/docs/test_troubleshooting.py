"""The messages on the page for troubleshooting are those that the program has."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "troubleshooting.md").read_text("utf-8")
QUOTED = re.findall(r"^\*\*`([^`]+)`\*\*", PAGE, re.MULTILINE)


def shown(node: ast.expr) -> str | None:
    """A text of the source; what a value puts into it is ``…``."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join("…" if isinstance(part, ast.FormattedValue) else str(shown(part)) for part in parts)
        case ast.BinOp(left=left, right=right):
            return f"{shown(left) or '…'}{shown(right) or '…'}"
    return None


@cache
def messages() -> tuple[str, ...]:
    """Every text of the program."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.expr) and (text := shown(node)):
                found.append(" ".join(text.split()))
    return tuple(found)


def is_said(quoted: str) -> bool:
    """Whether one text of the program has all parts of a quoted message, in their order."""
    pattern = ".*".join(re.escape(part.strip()) for part in quoted.split("…"))
    return any(re.search(pattern, text) for text in messages())


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_exists(quoted: str) -> None:
    """In the source, with what differs left out."""
    assert is_said(quoted)


def test_a_message_that_does_not_exist_is_noticed() -> None:
    """The control: one word is another."""
    assert is_said("cannot listen on …:…: … (choose another --port)")
    assert not is_said("cannot listen on …:…: … (choose a different --port)")
    assert len(QUOTED) > 30


def test_each_message_stands_on_the_page_once() -> None:
    """A reader who searches finds one place."""
    assert [one for one, other in pairwise(sorted(QUOTED)) if one == other] == []
