"""ARCHITECTURE.md names what is there: files, tables, rooms, statements, and methods of the store."""

import re
from pathlib import Path

from fairlane.settings import Settings
from fairlane.store import Store
from tests.architecture.rooms import MAY_KNOW

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fairlane"
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def first_cells(heading: str) -> set[str]:
    """The names in the first column of the table with this heading."""
    table = PAGE.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}


def test_every_file_and_folder_that_is_named_is_there() -> None:
    """In a room, in the repository, or made by make; of a file without its folder there is at least one."""
    made = {line.strip("/") + "/" for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()}
    named = re.findall(r"`([\w/-]+(?:\.py|\.sql|\.md|/))`", PAGE + CONTRIBUTING)
    missing = [
        name
        for name in named
        if name not in made
        and not (ROOT / name).exists()
        and not (SOURCE / name).exists()
        and not any(SOURCE.rglob(name.rstrip("/")))
    ]

    assert len(named) > 60
    assert missing == []


def test_every_room_is_described() -> None:
    """And no other; a large folder in a room may have a row of its own."""
    named = {name.rstrip("/").removesuffix(".py") for name in first_cells("room")}

    assert {name for name in named if "/" not in name} == set(MAY_KNOW)
    assert {name.partition("/")[0] for name in named} == set(MAY_KNOW)


def test_every_table_is_described() -> None:
    """As the migrations create them."""
    texts = [file.read_text("utf-8") for file in (SOURCE / "store" / "sql").rglob("*.sql")]
    created = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)

    assert first_cells("table") == {name for text in texts for name in created.findall(text)}


def test_the_store_has_the_methods_and_statements_that_are_named(tmp_path: Path) -> None:
    """Each where the page says."""
    store = Store(Settings(database=f"sqlite:///{tmp_path / 'a.db'}"), {})
    methods = re.findall(r"`store\.(\w+)\.(\w+)`", PAGE)
    inside = re.findall(r"`(\w+)` of `(store/[\w/]+\.(?:py|sql))`", PAGE)

    assert len(methods) > 5
    assert [method for noun, method in methods if not callable(getattr(getattr(store, noun), method, None))] == []
    assert len(inside) > 1
    for name, file in inside:
        assert re.search(rf"^(?:def |-- name: ){name}\b", (SOURCE / file).read_text("utf-8"), re.MULTILINE), name
