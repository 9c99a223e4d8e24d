"""Plain words: how often the words that make a sentence a riddle stand in what people read, room by room.

A sentence is about a thing of the product: a request, a server, the organization; never about whoever asks or nobody.
Ceilings may only be lowered. A room that reaches the target gets the target.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.architecture.sources import PACKAGE, REPOSITORY, Module, modules
from tests.tables import each

KINDS = {
    "who": re.compile(r"\b(?:who|whoever|whom|whose)\b", re.IGNORECASE),
    "nobody": re.compile(r"\b(?:no|some|every|any)body\b", re.IGNORECASE),
    "so many": re.compile(r"\bso\s+(?:many|long|much)\b", re.IGNORECASE),
}
TARGET = (0.3, 0.2, 0.2)
"""Occurrences per 1,000 words, in the order of ``KINDS``."""

CEILINGS = {
    "docs": TARGET,
    "docs/api": TARGET,
    "docs/decisions": TARGET,
    "docs/guides": TARGET,
    "docs/operators": TARGET,
    "docs/reference": TARGET,
    "src": TARGET,
    "src/admin": TARGET,
    "src/api": TARGET,
    "src/cli": TARGET,
    "src/client": TARGET,
    "src/dashboard": TARGET,
    "src/demo": TARGET,
    "src/model": TARGET,
    "src/rules": TARGET,
    "src/store": TARGET,
    "src/webhooks": TARGET,
    "src/wire": TARGET,
    "src/worker": TARGET,
}
"""By room, in the order of ``KINDS``. A ceiling is never raised."""

WORD = re.compile(r"[A-Za-z][A-Za-z'’]*")
SCRIPT = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`""", re.DOTALL)
PAGE = re.compile(r'<!--.*?-->|(?<=>)[^<>]+(?=<)|(?:alt|title|aria-label|placeholder)="[^"]*"', re.DOTALL)


@dataclass(frozen=True)
class Text:
    """One text that people read, and where it begins."""

    place: str
    line: int
    words: str


@each("room", CEILINGS)
def test_a_room_stays_below_its_ceilings(room: str) -> None:
    """No room uses more of these words than its ceiling allows."""
    texts = rooms()[room]
    size = sum(len(WORD.findall(text.words)) for text in texts)
    above = []
    for (kind, pattern), ceiling in zip(KINDS.items(), CEILINGS[room], strict=True):
        found = [line for text in texts for line in lines_of(text, pattern)]
        if len(found) * 1_000 > ceiling * size:
            above += [f"{kind}: {len(found) * 1_000 / size:.2f} per 1,000 words, at most {ceiling}:", *found]

    assert not above, "\n".join([f"{room}: say it in plain words; ceilings are never raised", *above])


def test_every_room_has_its_ceilings() -> None:
    """A new room begins with the target."""
    assert set(CEILINGS) == set(rooms())


def lines_of(text: Text, pattern: re.Pattern[str]) -> Iterator[str]:
    """Each line of a text in which the pattern is found, with its place."""
    lines = text.words.split("\n")
    for match in pattern.finditer(text.words):
        number = text.words.count("\n", 0, match.start())
        yield f"  {text.place}:{text.line + number}: {lines[number].strip()}"


@cache
def rooms() -> dict[str, list[Text]]:
    """Every text by its room: a folder below ``src/fairlane`` or ``docs``, or what stands beside the folders."""
    found: dict[str, list[Text]] = {}
    for module in modules():
        parts = module.place.split("/")
        found.setdefault(f"src/{parts[0]}" if len(parts) > 1 else "src", []).extend(_of_module(module))
    for path in sorted((PACKAGE / "dashboard" / "assets").iterdir()):
        if pattern := {".js": SCRIPT, ".html": PAGE}.get(path.suffix):
            found["src/dashboard"].extend(_of_page(path, pattern))
    top = (REPOSITORY / "README.md", REPOSITORY / "ARCHITECTURE.md")
    for path in (*top, *sorted((REPOSITORY / "docs").rglob("*.md"))):
        place = path.relative_to(REPOSITORY)
        room = f"docs/{place.parts[1]}" if len(place.parts) > 2 else "docs"
        found.setdefault(room, []).append(Text(place.as_posix(), 1, path.read_text("utf-8")))
    return found


def _of_module(module: Module) -> Iterator[Text]:
    """Docstrings, those of attributes too, and comments; comments on adjacent lines are one text."""
    place, source = module.path.relative_to(REPOSITORY).as_posix(), module.path.read_text("utf-8")
    for node in module.nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Text(place, node.lineno, node.value.value)
    first, comments = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] != first + len(comments):
                yield Text(place, first, "\n".join(comments))
                comments = []
            first = first if comments else token.start[0]
            comments.append(token.string.lstrip("# "))
    if comments:
        yield Text(place, first, "\n".join(comments))


def _of_page(path: Path, pattern: re.Pattern[str]) -> Iterator[Text]:
    """Comments, and texts of more than one word."""
    source = path.read_text("utf-8")
    for match in pattern.finditer(source):
        if " " in match[0].strip():
            line = source.count("\n", 0, match.start()) + 1
            yield Text(path.relative_to(REPOSITORY).as_posix(), line, match[0])
