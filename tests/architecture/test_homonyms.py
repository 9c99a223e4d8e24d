"""One concept for each word: the name of a class or of an alias stands in one module of ``src/fairlane``.

A leading underscore makes no other name. Type variables are no concepts, so they are not counted.
"""

import ast
from collections.abc import Iterator

from tests.architecture.sources import Module, modules

OF_BOTH_SIDES = "the client's record of the same thing: the client imports nothing of the server"

KEPT = {
    "Alert": OF_BOTH_SIDES,
    "Capacity": OF_BOTH_SIDES,
    "Delivery": OF_BOTH_SIDES,
    "DeliveryTry": OF_BOTH_SIDES,
    "NewTask": OF_BOTH_SIDES,
    "NotFound": "the client raises what the server refuses with 404, under the name that users expect",
    "Progress": OF_BOTH_SIDES,
    "Projection": OF_BOTH_SIDES,
    "Slot": OF_BOTH_SIDES,
    "Usage": OF_BOTH_SIDES,
}
"""Names that stand in two modules, with the reason."""
KEPT_MOST = 10


def test_a_name_of_a_class_stands_in_one_module() -> None:
    """Otherwise one of the two concepts needs another word."""
    places: dict[str, set[str]] = {}
    for module in modules():
        for name in concepts(module):
            places.setdefault(name, set()).add(module.place)
    twice = {name: sorted(found) for name, found in places.items() if len(found) > 1}

    assert not {name: found for name, found in twice.items() if name not in KEPT}
    assert not KEPT.keys() - twice.keys(), "these stand in one module by now: take them out of the list"
    assert len(KEPT) <= KEPT_MOST


def concepts(module: Module) -> Iterator[str]:
    """The names of the classes and aliases at the top of a module, without a leading underscore."""
    for node in module.tree.body:
        match node:
            case ast.ClassDef(name=name):
                yield name.lstrip("_")
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not _is_type_variable(value):
                yield from _if_camel(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield from _if_camel(name)


def _is_type_variable(value: ast.expr) -> bool:
    return (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("TypeVar", "ParamSpec")
    )


def _if_camel(name: str) -> Iterator[str]:
    """An alias is spelled like a class; a constant is not."""
    bare = name.lstrip("_")
    if bare[:1].isupper() and not bare.isupper():
        yield bare
