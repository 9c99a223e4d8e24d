"""Imports run one way: a room knows only what stands before it."""

import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.rooms import (
    FORBIDDEN_NAMES,
    MAY_KNOW,
    OPTIONAL_MODULES,
    OPTIONAL_PACKAGES,
    PACKAGES,
    SLOW_MODULES,
)
from tests.architecture.sources import REPOSITORY, Import, Module, modules

MODULES = {module.name: module for module in modules()}


def module_of(target: str) -> Module | None:
    """The module of ours that an import's target lives in; None for foreign ones."""
    while target not in MODULES and "." in target:
        target = target.rpartition(".")[0]
    return MODULES.get(target)


def test_a_module_imports_only_what_its_room_may_know() -> None:
    """Rooms form layers; the table in rooms.py is their drawing."""
    wrong = [
        f"{module.place}:{found.line} imports {found.target}"
        for module in modules()
        for found in module.imports
        if not _is_known(module, found)
    ]

    assert not wrong, wrong


def test_a_foreign_package_is_imported_only_in_its_place() -> None:
    """One thin place per dependency, so that it can be replaced there."""
    wrong = [
        f"{module.place}:{found.line} imports {found.target}"
        for module in modules()
        for found in module.imports
        if not _is_in_place(module, found)
    ]

    assert not wrong, wrong


def test_imports_stand_at_the_top() -> None:
    """Except for packages that may be missing, and for a slow module that a command rarely needs."""
    wrong = [
        f"{module.place}:{found.line} imports {found.target} inside a function"
        for module in modules()
        for found in module.imports
        if found.inside_function and not _is_optional(found)
    ]

    assert not wrong, wrong


def drawn() -> dict[str, list[str]]:
    """The drawing of the rooms in ARCHITECTURE.md: the name of each line, and its rooms."""
    page = (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8")
    drawing = page.partition("\n## The rooms\n")[2].partition("```text\n")[2].partition("```")[0]
    return {name: rooms for name, *rooms in map(str.split, drawing.splitlines())}


def test_the_drawing_has_the_rooms_in_the_order_of_the_table() -> None:
    """Line by line, and from left to right."""
    assert [room for rooms in drawn().values() for room in rooms] == list(MAY_KNOW)


def test_a_room_knows_only_rooms_that_are_drawn_before_it() -> None:
    """So there is no circle, and the drawing can be read from its top."""
    order = list(MAY_KNOW)

    assert [
        (room, known) for room in order for known in MAY_KNOW[room] if known not in order[: order.index(room)]
    ] == []


def test_contributors_are_told_the_same_order() -> None:
    """Once more in words, by the names of the lines."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")

    assert f"`{' ← '.join(drawn())}`" in page


def test_modules_form_no_circle() -> None:
    """Inside a room, too, imports run one way. (Everybody may ask the package itself for its version.)"""
    package = MODULES["fairlane"]
    graph = {
        module.name: {
            known.name for found in module.imports if (known := module_of(found.target)) not in (None, module, package)
        }
        for module in modules()
    }

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


def test_no_module_has_a_name_that_says_nothing() -> None:
    """What has no noun has no place."""
    wrong = [module.place for module in modules() if FORBIDDEN_NAMES & set(module.name.split("."))]

    assert not wrong, wrong


def test_the_table_names_every_room_and_no_other() -> None:
    """A room that is not drawn may not be built; a drawn room that is gone is wiped out."""
    assert set(MAY_KNOW) == {module.room for module in modules()}


def _is_optional(found: Import) -> bool:
    optional = OPTIONAL_MODULES | SLOW_MODULES
    return found.target.split(".")[0] in OPTIONAL_PACKAGES or found.target.rpartition(".")[0] in optional


def _is_known(module: Module, found: Import) -> bool:
    known = module_of(found.target)
    if known is None:
        return True
    allowed = MAY_KNOW.get(module.room, set())
    return known.room in allowed | {module.room}


def _is_in_place(module: Module, found: Import) -> bool:
    package = found.target.split(".")[0]
    if package == "fairlane" or package in sys.stdlib_module_names:
        return True
    places = PACKAGES.get(package, set())
    return module.room in places or module.place in places or module.place.rpartition("/")[0] in places
