"""Tests use what is public: how often a test reads or replaces a private attribute of something, folder by folder.

What a test needs to know gets a public reading, or is tested through what follows from it. Ceilings may only be
lowered.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.sources import REPOSITORY

CEILINGS = {
    ".": 2,
    "api": 5,
    "client": 1,
    "dashboard": 1,
    "served": 1,
    "store": 9,
    "webhooks": 1,
    "worker": 1,
}
"""By folder of ``tests``; a folder that is not named has none."""

MAY_REACH = re.compile(r"(?<!self)(?<!cls)\._(?!_)")
"""What a file without any reach lacks: it need not be parsed."""
PYTHONS_OWN = {"_asdict", "_replace", "_current_frames", "_exit"}


def test_a_folder_stays_below_its_ceiling() -> None:
    """No folder of tests reaches into more private attributes than its ceiling allows."""
    found: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        folder = path.relative_to(REPOSITORY / "tests").parts[:-1]
        found.setdefault(folder[0] if folder else ".", []).extend(reaches(path))
    above = {folder: places for folder, places in found.items() if len(places) > CEILINGS.get(folder, 0)}

    assert not above, above


def test_a_reach_is_found(tmp_path: Path) -> None:
    """An attribute of anything but the object itself; neither dunder names nor Python's own."""
    path = tmp_path / "test_it.py"
    path.write_text("a._b\nself._b\na.__class__\na.b._c = 1\nrow._asdict()\nsuper()._d\n")

    assert [place.rpartition(":")[2] for place in reaches(path)] == ["1 _b", "4 _c"]


def reaches(path: Path) -> Iterator[str]:
    """Each private attribute that a file reads or sets on something other than ``self``, ``cls`` and ``super()``."""
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)) if MAY_REACH.search(text) else ():
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        owner = node.value.func if isinstance(node.value, ast.Call) else node.value
        own = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "super")
        if not own and node.attr not in PYTHONS_OWN:
            yield f"{path.name}:{node.lineno} {node.attr}"
