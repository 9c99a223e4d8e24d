"""Writes what is generated of the API's description: its examples from the golden files, the document of the smallest
application, and the list of endpoints for readers.

``make format`` runs it; the tests compare.
"""

import json
import re
from pathlib import Path

from fairlane.api.customers import customer_routes
from fairlane.api.openapi import EXAMPLES_PATH, document, examples_named
from fairlane.api.routes import Routes
from fairlane.handlers import Fairlane, load_app
from tests.architecture.sources import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "wire"
DOCUMENT_PATH = REPOSITORY / "docs" / "api" / "openapi.json"
INDEX_PATH = DOCUMENT_PATH.with_name("README.md")
NOT_ABOUT_ENDPOINTS = ("README.md", "migration.md", "limits.md")


def examples() -> str:
    """The golden files that the description shows, in one."""
    found = {name: json.loads((GOLDEN / f"{name}.json").read_text("utf-8")) for name in examples_named(_routes())}
    return _text(dict(sorted(found.items())))


def openapi() -> str:
    """The description of the smallest application."""
    return _text(document(_routes(), _quickstart().task_types))


def _routes() -> Routes:
    return customer_routes(_quickstart().task_types)


def _quickstart() -> Fairlane:
    return load_app(f"{REPOSITORY / 'examples' / 'quickstart.py'}:app")


def index() -> str:
    """The customers' first page with the list of endpoints as it should be."""
    rows = [f"| `{route.line}` | {route.summary} | {_page(route.line, route.tag)} |" for route in customer_routes({})]
    table = "\n".join(["| endpoint | for | more |", "|---|---|---|", *rows])
    text = INDEX_PATH.read_text("utf-8")
    return re.sub(r"(## Every endpoint\n\n).*?(\n\n)", lambda found: found[1] + table + found[2], text, flags=re.DOTALL)


def _page(route: str, tag: str) -> str:
    """A link to the page that tells of this route, if there is one: that of its tag's name, else the first."""
    method, _, path = route.partition(" ")
    segments = re.sub(r"{[^}]*}", r"[^/?`\\s]+", path)
    told = re.compile(rf"{method} {segments}(?=[?`\s])")
    pages = sorted(INDEX_PATH.parent.glob("*.md"), key=lambda page: (page.stem != tag, page.name))
    for page in pages:
        if page.name not in NOT_ABOUT_ENDPOINTS and told.search(page.read_text("utf-8")):
            return f"[{page.stem}]({page.name})"
    return ""


def _text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write(path: Path, text: str) -> None:
    """Put it where it belongs."""
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(EXAMPLES_PATH, examples())
    write(DOCUMENT_PATH, openapi())
    write(INDEX_PATH, index())
