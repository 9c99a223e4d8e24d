"""The source as the architecture tests see it: every module of fairlane, parsed, with its room."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "src" / "fairlane"


@dataclass(frozen=True)
class Import:
    """One import statement's target, as a full dotted name."""

    target: str
    line: int
    inside_function: bool


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax, parsed when a test first asks: every process of a run imports this, few run its tests."""
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of its syntax: each test looks at all of them."""
        return tuple(ast.walk(self.tree))

    @property
    def room(self) -> str:
        """The first name under ``fairlane``; the package itself is the room ``fairlane``."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else parts[0]

    @property
    def place(self) -> str:
        """The path below the package, such as ``store/tasks.py``."""
        return self.path.relative_to(PACKAGE).as_posix()

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import of the file, those inside functions too; imports for the type checker alone count as well."""
        return tuple(_imports(self, is_package=self.path.name == "__init__.py"))


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, in a stable order."""
    return tuple(_read(path) for path in sorted(PACKAGE.rglob("*.py")))


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module."""
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def texts(module: Module) -> Iterator[tuple[int, str]]:
    """Every string constant that is not a docstring or a bare string statement, with its line."""
    bare = {id(node.value) for node in module.nodes if isinstance(node, ast.Expr)}
    for node in module.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.lineno, node.value


def _read(path: Path) -> Module:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name=name, path=path)


def _imports(module: Module, *, is_package: bool) -> Iterator[Import]:
    inside = {
        id(node)
        for function in module.nodes
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in inside)
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, module.name, is_package=is_package)
            for alias in node.names:
                yield Import(f"{source}.{alias.name}", node.lineno, id(node) in inside)


def _source(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    here = name.split(".")
    base = here[: len(here) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)
