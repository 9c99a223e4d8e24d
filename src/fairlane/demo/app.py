"""The application that the demonstration serves: task types over the source files of this Python.

The handlers read nothing outside the standard library's directory and write nothing outside the folder that
``FAIRLANE_DEMO_OUTPUT`` names.
"""

import ast
import asyncio
import os
import sysconfig
import tokenize
from pathlib import Path
from typing import Any

from msgspec import Struct
from pygments import highlight  # type: ignore[import-untyped]  # it comes without types
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]  # it comes without types
from pygments.lexers import PythonLexer  # type: ignore[import-untyped]  # it comes without types

from fairlane import Context, Fail, Fairlane

SLOW_SECONDS, SLOW_STEPS = 4.0, 16
OUTPUT_VARIABLE = "FAIRLANE_DEMO_OUTPUT"
LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()

app = Fairlane()


class Rendering(Struct, forbid_unknown_fields=True):
    """One file of the standard library, such as ``asyncio/base_events.py``, and a Pygments style to render it in."""

    path: str
    style: str = "default"


@app.task("HIGHLIGHT", timeout=60)
def highlight_source(source: Rendering) -> dict[str, Any]:
    """Render a source file as an HTML page; the result names the page."""
    text = read_source(source.path)
    page = page_path(source.path, source.style)
    file = _output() / page
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(text, title=source.path, style=source.style), encoding="utf-8")
    return {"page": str(page), "lines": text.count("\n")}


@app.task("OUTLINE", timeout=60)
def outline_source(source: Rendering) -> dict[str, Any]:
    """List the classes and functions of a source file with their line numbers."""
    outline = outline_of(read_source(source.path))
    return {"path": source.path, "outline": outline}


@app.task("READ_SLOWLY", timeout=60, attempts=1)
async def read_slowly(source: Rendering, context: Context) -> dict[str, Any]:
    """Count the lines of a source file, with pauses and progress: to be looked at, and easy on the machine."""
    lines = read_source(source.path).count("\n")
    for step in range(1, SLOW_STEPS + 1):
        context.progress(step * lines // SLOW_STEPS, max(lines, 1), source.path)
        await asyncio.sleep(SLOW_SECONDS / SLOW_STEPS)
    return {"path": source.path, "lines": lines}


def read_source(path: str) -> str:
    """Return the text of a file of the standard library.

    Raises:
        Fail: the path leads out of the library, or not to Python source.
    """
    try:
        file = (LIBRARY / path).resolve()
        if not file.is_relative_to(LIBRARY) or file.suffix != ".py":
            raise Fail("SOURCE_REFUSED", f"{path!r} is not a Python file inside the standard library")
        with tokenize.open(file) as opened:
            return opened.read()
    except (OSError, ValueError, SyntaxError) as error:
        # ValueError: a NUL in the path, or bytes that are not text. SyntaxError: an unknown encoding is declared.
        raise Fail("SOURCE_UNREADABLE", f"{path!r} cannot be read as Python source") from error


def render(text: str, *, title: str, style: str) -> str:
    """Render a source text as a complete HTML page."""
    formatter = HtmlFormatter(full=True, linenos="table", title=title, style=style)
    page: str = highlight(text, PythonLexer(), formatter)
    return page


def outline_of(text: str) -> list[dict[str, Any]]:
    """Return classes and functions in the order of their lines, each with its dotted name."""
    found: list[dict[str, Any]] = []
    pending: list[tuple[ast.AST, str]] = [(ast.parse(text), "")]
    while pending:
        node, prefix = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                kind = "class" if isinstance(child, ast.ClassDef) else "function"
                found.append({"name": prefix + child.name, "kind": kind, "line": child.lineno})
                pending.append((child, f"{prefix}{child.name}."))
            else:
                pending.append((child, prefix))
    return sorted(found, key=lambda entry: entry["line"])


def page_path(path: str, style: str) -> Path:
    """Return the path of a source file's page, relative to the output folder."""
    return Path("pages") / style / f"{path}.html"


def _output() -> Path:
    folder = os.environ.get(OUTPUT_VARIABLE)
    if not folder:
        raise Fail("NO_OUTPUT_FOLDER", f"the server was started without {OUTPUT_VARIABLE}")
    return Path(folder)
