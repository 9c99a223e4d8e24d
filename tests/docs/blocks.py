"""Code blocks and commands of the pages, and what is known of them without running them."""

import importlib
import inspect
import json
import pkgutil
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.main import get_command

from fairlane.api.customers import customer_routes
from fairlane.cli.program import COMMANDS, load, program
from fairlane.handlers import load_app
from fairlane.settings import OTHERS, PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), ROOT / "examples" / "README.md", *(ROOT / "docs").rglob("*.md")])
VARIABLES = {PREFIX + name.upper() for name in Settings.__struct_fields__} | set(OTHERS)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
MAKE_VARIABLES = set(re.findall(r"\$\((?:if )?([A-Z]+)\b", (ROOT / "Makefile").read_text("utf-8")))
EXTRAS = set(re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text("utf-8").partition(
    "[project.optional-dependencies]")[2].partition("\n[")[0], re.MULTILINE))  # fmt: skip

_BLOCK = re.compile(
    r"(?:^ *<!-- not (?P<not>run): [^\n]+ -->\n\s*)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`(fairlane [^`]+)`")
HARMLESS = {"cd", "export", "echo", "for", "do", "done", ".", "set", "source"}
"""Words of the shell, of which nothing of ours can be wrong."""


class Block(NamedTuple):
    """One code block of a page."""

    page: str
    line: int
    language: str
    code: str
    mark: str | None
    """``run`` if a comment above the block says why it is not run."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(text: str, page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        code = re.sub(rf"^{found['indent']}", "", found["code"], flags=re.MULTILINE)
        yield Block(page, line, found["language"], code, found["not"])


def all_blocks() -> list[Block]:
    """The blocks of every page."""
    return [block for page in PAGES for block in blocks_of(page.read_text("utf-8"), page.relative_to(ROOT).as_posix())]


def inline_commands() -> list[tuple[str, str]]:
    """Commands of ours in the running text, with their pages."""
    found = []
    for page in PAGES:
        prose = _BLOCK.sub("", page.read_text("utf-8"))
        found += [(page.relative_to(ROOT).as_posix(), command) for command in _INLINE.findall(prose)]
    return found


# Shell ---------------------------------------------------------------------------------------------------------------


def simple_commands(code: str) -> Iterator[list[str]]:
    """The commands of a script, each as its words without redirections. Operators that join them are left out."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&()<>")
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in lexer:
            if word and set(word) <= set(";|&()"):
                if words:
                    yield words
                words = []
            elif word and set(word) <= set("<>"):
                skip = True
            elif skip:
                skip = False
            else:
                words.append(word)
        if words:
            yield words


def check_shell(code: str, *, run: bool = True) -> None:
    """Check every command of a script: ours by our parser, others by what they name of ours.

    Raises:
        Exception: a command names what does not exist, or is unknown here. Unless ``run``, other programs may be.
    """
    for words in simple_commands(code):
        before = list(takewhile(re.compile(r"do|[A-Za-z_]+=.*", re.DOTALL).fullmatch, words))
        check_variables(before)
        if len(words) > len(before):
            check_command(words[len(before) :], run=run)


def check_command(words: list[str], *, run: bool) -> None:
    """Check one command."""
    called = (at for at, word in enumerate(words[:-1]) if word == "fairlane" and words[at + 1] in COMMANDS)
    ours = 0 if words[0] == "fairlane" else next(chain(called, _paths(words)), None)
    match words[0]:
        case "curl":
            check_curl(words[1:])
        case "make":
            check_make(words[1:])
        case "pip":
            assert words[1] == "install", words
            for extras in re.findall(r"fairlane\[([a-z,]+)\]", " ".join(words)):
                assert set(extras.split(",")) <= EXTRAS, extras
        case "export":
            check_variables(words[1:])
        case _ if ours is not None and (ours == 0 or not run):
            check_fairlane(words[ours + 1 :])
        case name:
            assert not run or name in HARMLESS, f"{name} is unknown: say above the block why it is not run"


def _paths(words: list[str]) -> Iterator[int]:
    """Where our program is called by its path."""
    return (at for at, word in enumerate(words) if word.endswith("/bin/fairlane"))


def check_variables(assignments: list[str]) -> None:
    """Check that variables of ours are read somewhere."""
    names = {word.partition("=")[0] for word in assignments}
    assert {name for name in names if name.startswith(PREFIX)} <= VARIABLES, names


@cache
def loaded(name: str) -> tuple[Any, Any]:
    """A command of ours, and the context that it is parsed in."""
    return load(name), typer.Context(get_command(program))


def check_fairlane(words: list[str], *, whole: bool = True) -> None:
    """Check that our program would take this command line. Unless ``whole``, arguments may be missing."""
    assert words[0] in COMMANDS, words
    command, context = loaded(words[0])
    rest = words[1:]
    while members := getattr(command, "commands", None):
        if not rest and not whole:
            return
        assert rest[0] in members, words
        command, rest = members[rest[0]], rest[1:]
    try:
        command.make_context(command.name, rest, parent=context)
    except typer.BadParameter as error:
        missing = type(error).__name__ == "MissingParameter"
        # A page's files are its reader's.
        if (missing and whole) or (not missing and "does not exist" not in str(error)):
            raise


@cache
def routes() -> set[tuple[str, str]]:
    """Method and path of everything that is served, with ``{}`` for an open segment."""
    listed = list(customer_routes(load_app(f"{ROOT / 'examples' / 'quickstart.py'}:app").task_types))
    for room in ("api", "dashboard"):
        for found in pkgutil.walk_packages([str(ROOT / "src" / "fairlane" / room)], f"fairlane.{room}."):
            for _, kind in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
                found_here = getattr(kind, "routes", None)
                listed += found_here if isinstance(found_here, tuple) else ()
    return {(route.method, re.sub(r"\{\w*\}", "{}", route.path)) for route in listed}


def check_curl(words: list[str]) -> None:
    """Check that the method and the path are served, and that a body is JSON."""
    address = [word for word in words if re.match(r"https?://|\$\w+/", word)][-1]
    body = words[words.index("-d") + 1] if "-d" in words else None
    method = words[words.index("-X") + 1] if "-X" in words else "GET" if body is None else "POST"
    path = "/" + re.sub(r"^(https?://[^/]*|\$\w+)/?", "", address).partition("?")[0]
    assert any(
        method == known and re.fullmatch(re.escape(form).replace(r"\{\}", "[^/]+"), path) for known, form in routes()
    ), f"nothing is served at {method} {path}"
    if body is not None:
        json.loads(body)


def check_make(words: list[str]) -> None:
    """Check that the target and the variables are the Makefile's, and that flags for our own programs exist."""
    assert {word for word in words if "=" not in word} <= TARGETS, words
    assert {word.partition("=")[0] for word in words if "=" in word} <= MAKE_VARIABLES, words
