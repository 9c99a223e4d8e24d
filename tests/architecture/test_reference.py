"""What people can meet is described: every setting, every error code, every command."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from fairlane import errors
from fairlane.settings import PREFIX, Settings
from tests.architecture import cli_reference
from tests.architecture.sources import REPOSITORY, modules, texts

REFERENCE = REPOSITORY / "docs" / "reference"
LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
}


def test_every_setting_is_described_and_nothing_else() -> None:
    """settings.md has exactly the variables that fairlane reads, each with its default."""
    page = (REFERENCE / "settings.md").read_text("utf-8")
    described = dict(re.findall(rf"^\| `{PREFIX}([A-Z_]+)` \| `?([^|`]*)`? \|", page, re.MULTILINE))

    expected = {
        field.name.upper(): None if field.default is msgspec.NODEFAULT else str(field.default)
        for field in msgspec.structs.fields(Settings)
    }

    assert described.keys() == expected.keys()
    assert {name: default for name, default in expected.items() if default not in (None, described[name])} == {}


def test_every_refusal_is_described() -> None:
    """errors.md has each code with its status."""
    page = (REFERENCE / "errors.md").read_text("utf-8")

    missing = [
        f"{refusal.status} {refusal.code}"
        for refusal in _descendants(errors.Refusal)
        if f"| {refusal.status} | `{refusal.code}` |" not in page
    ]

    assert not missing, missing


def test_every_exit_code_is_described() -> None:
    """cli.md has the exit code of each mistake in setting up."""
    page = cli_reference.PATH.read_text("utf-8")

    missing = [error.__name__ for error in _descendants(errors.SetupError) if f"| {error.exit_code} |" not in page]

    assert not missing, missing


def test_every_code_of_a_failed_task_is_described() -> None:
    """errors.md has each code that fairlane itself puts into a task's failure."""
    page = (REFERENCE / "errors.md").read_text("utf-8")
    codes = {
        text
        for module in modules()
        if module.place in ("rules/attempts.py", "worker/results.py")
        for _, text in texts(module)
        if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", text)
    }

    assert codes
    assert {code for code in codes if f"| `{code}` |" not in page} == set()


def test_the_command_line_is_described_as_it_is() -> None:
    """cli.md is what the program says of itself; `make format` writes it."""
    assert cli_reference.PATH.read_text("utf-8") == cli_reference.reference()


def _descendants(kind: Any) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


def test_every_log_event_is_described_with_its_level_and_nothing_else() -> None:
    """events.md has each name that is logged somewhere."""
    page = (REFERENCE / "events.md").read_text("utf-8")
    described = {
        (event, level)
        for names, levels in re.findall(r"^\| (`[a-z].*?`) \| ([A-Z, ]+) \|", page, re.MULTILINE)
        for event in re.findall(r"`([a-z_]+\.[a-z_]+)`", names)
        for level in levels.split(", ")
    }
    logged = {found for module in modules() for found in _events(module.tree)}

    assert {event.partition(".")[0] for event, _ in logged} >= {"server", "delivery", "attempt", "count", "disk"}
    assert described == logged


def _events(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and level of each event that a module logs. A name may be chosen by an assignment to ``event``; an outage is
    made with the names of its two."""
    chosen = {
        text
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event"
        for text in _words(node.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Outage":
            begins, ends = (text for argument in node.args[1:3] for text in _words(argument))
            level = next((one.value for one in node.keywords if one.arg == "level"), None)
            yield from ((begins, "ERROR" if level is None else ast.unparse(level).split(".")[-1]), (ends, "WARNING"))
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if ast.unparse(node.func.value) not in ("logger", "_log") or node.func.attr not in LEVELS:
            continue
        named = node.args[0]
        names = chosen if isinstance(named, ast.Name) else {text.split(" ")[0] for text in _words(named)}
        assert names, ast.unparse(node)
        for name in names:
            yield name, LEVELS[node.func.attr]


def _words(tree: ast.AST) -> Iterator[str]:
    return (one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str))
