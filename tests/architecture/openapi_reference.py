"""Writes what is generated of the API's description: its examples from the golden files, and the page for readers.

``make format`` runs it; the tests compare.
"""

import json
from pathlib import Path

from fairlane.api.customers import OPERATIONS
from fairlane.api.openapi import EXAMPLES_PATH, document, examples_named
from fairlane.handlers import load_app
from tests.architecture.sources import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "wire"
DOCUMENT_PATH = REPOSITORY / "docs" / "api" / "openapi.json"


def examples() -> str:
    """The golden files that the description shows, in one."""
    found = {name: json.loads((GOLDEN / f"{name}.json").read_text("utf-8")) for name in examples_named(OPERATIONS)}
    return _text(dict(sorted(found.items())))


def openapi() -> str:
    """The description of the smallest application."""
    app = load_app(f"{REPOSITORY / 'examples' / 'quickstart.py'}:app")
    return _text(document(OPERATIONS, app.task_types))


def _text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write(path: Path, text: str) -> None:
    """Put it where it belongs."""
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(EXAMPLES_PATH, examples())
    write(DOCUMENT_PATH, openapi())
