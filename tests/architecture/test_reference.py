"""What people can meet is described: every setting, every error code, every command."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from fairlane import errors
from fairlane.settings import PREFIX, Settings
from tests.architecture import cli_reference
from tests.architecture.sources import REPOSITORY, modules, texts

REFERENCE = REPOSITORY / "docs" / "reference"


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
        if module.place in ("rules.py", "worker/results.py")
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
