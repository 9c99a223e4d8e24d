"""Every code block and command of README and the pages: checked or run here, or marked with the reason why not.

A mark is a comment above a block: ``<!-- not run: the reason -->``. Its own commands of fairlane are checked all the
same. Single pages have tests of their own that run more, such as ``test_tutorial.py``.
"""

import ast
import importlib.util
import inspect
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import fairlane.client
from fairlane import Context, Fairlane
from fairlane.handlers import load_app
from fairlane.settings import Settings, read_settings
from fairlane.testing import Engine
from tests.docs.blocks import ROOT, Block, all_blocks, blocks_of, check_fairlane, check_shell, inline_commands
from tests.tables import each

BLOCKS = all_blocks()
TUTORIAL = "docs/tutorial.md"
"""``test_tutorial.py`` runs its blocks of these languages as they stand, with programs that are unknown here."""
SHELLS = ("sh", "console", "serve", "background")
LANGUAGES = {*SHELLS, "python", "json", "jsonl", "toml", "http", "js", "ts", "nginx", "diff", "text"}
BROUGHT_BY_DOCS = ("fastapi", "django")
"""Packages of requirements/docs.txt that pages use."""
OBJECTS = {"client": fairlane.client.Client, "context": Context, "app": Fairlane}
"""Names that the pages use for objects of these classes."""
MEMBERS = {name: {*dir(kind), *inspect.signature(kind).parameters} for name, kind in OBJECTS.items()}


def of(*languages: str) -> list[Block]:
    """The blocks of these languages."""
    return [block for block in BLOCKS if block.language in languages]


@each("block", of(*SHELLS))
def test_the_commands_of_a_page_exist(block: Block) -> None:
    """Options and subcommands are accepted by the program's own parser, paths of requests are served, targets are in
    the Makefile.
    """
    check_shell(block.code, run=block.mark is None and block.page != TUTORIAL)


@each("page, command", inline_commands())
def test_a_command_in_a_sentence_exists(page: str, command: str) -> None:
    """With its options; arguments may be missing."""
    check_fairlane(shlex.split(command)[1:], whole=False)


class Page(msgspec.Struct):
    """A payload that snippets of handlers use."""

    url: str


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The application of README, without real time."""
    with Engine(load_app(f"{ROOT / 'examples' / 'quickstart.py'}:app")) as engine:
        yield engine


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_the_python_of_a_page_runs(block: Block, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing changed but the server that its client speaks to; attributes of our objects exist."""
    tree = ast.parse(block.code)
    others = {name for name in BROUGHT_BY_DOCS if re.search(rf"^(?:from|import) {name}\b", block.code, re.MULTILINE)}
    if missing := {name for name in others if importlib.util.find_spec(name) is None}:
        assert not os.environ.get("CI"), missing
        pytest.skip(f"`make docs` brings {', '.join(missing)}")

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OBJECTS:
            foreign = node.value.id == "app" and others
            assert foreign or node.attr in MEMBERS[node.value.id], f"{node.value.id}.{node.attr}"
    if block.mark is None and block.page != TUTORIAL:
        monkeypatch.setattr(fairlane.client, "Client", lambda *_: engine.organization(f"acme-{block.line}"))
        monkeypatch.setenv("FAIRLANE_URL", "http://127.0.0.1:8000")
        monkeypatch.setenv("FAIRLANE_API_KEY", "sk_live_1234567890abcdef1234567890abcdef")
        names = {"app": Fairlane(), "Context": Context, "Page": Page, "__name__": "shown"}
        exec(compile(tree, str(block), "exec", dont_inherit=True), names)


@each("block", of("json", "jsonl"))
def test_the_json_of_a_page_is_json(block: Block) -> None:
    """Lines of it each for itself."""
    for text in block.code.splitlines() if block.language == "jsonl" else [block.code]:
        json.loads(text)


@pytest.mark.parametrize("block", of("toml"))
def test_the_settings_file_of_a_page_is_read(block: Block, tmp_path: Path) -> None:
    """Its names and values are those of settings."""
    path = tmp_path / "fairlane.toml"
    path.write_text(block.code)

    assert read_settings({}, {}, config=path) != Settings()


def test_the_program_of_the_typescript_guide_is_the_one_that_runs() -> None:
    """``tests/generated`` compiles it against generated types, and runs it."""
    program = (ROOT / "tests" / "generated" / "node" / "guide.ts").read_text("utf-8")

    assert [block.code for block in BLOCKS if block.language == "ts"] == [program]


def test_every_block_names_its_language() -> None:
    """So none escapes the tests above by having none."""
    assert [str(block) for block in BLOCKS if block.language not in LANGUAGES] == []


def test_marks_are_few() -> None:
    """Each is a command that no test runs."""
    assert [str(block).partition(":")[0] for block in BLOCKS if block.mark] == [
        "CONTRIBUTING.md", "docs/guides/typescript.md", "docs/guides/typescript.md",
        "docs/operators/backup.md", "docs/operators/deployment.md", "docs/operators/deployment.md",
        "docs/operators/traces.md",
        "docs/reference/client.md", "docs/reference/worker-protocol.md", TUTORIAL, TUTORIAL,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "fairlane organisations list",
        "fairlane organizations create acme --slot 5",
        "fairlane organizations creat acme",
        "fairlane keys create acme | fairlane status --wach",
        "for x in a; do fairlane submt $x; done > y",
        "FAIRLANE_PLACE=5 fairlane top",
        "export FAIRLANE_ULR=x",
        "curl http://127.0.0.1:8000/v1/async/state",
        "curl -X PUT http://127.0.0.1:8000/v1/async/task",
        "curl http://127.0.0.1:8000/v1/async/task -d '{'",
        "make demos",
        "make demo PGS=1",
        "pip install 'fairlane[postgresql]'",
        "frobnicate",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(code: str) -> None:
    """The control of the checks above."""
    with pytest.raises(Exception):  # noqa: B017 - the parser has its own kinds
        check_shell(code)


def test_blocks_are_found_with_their_marks() -> None:
    """Also in a list; a mark belongs to the block below it alone."""
    text = "a\n<!-- not run: why -->\n```sh\nx\n```\n- b\n  ```python\n  y\n    z\n  ```\n```\nnone\n```\n"

    found = [(block.line, block.language, block.code, block.mark) for block in blocks_of(text, "p")]

    assert found == [(3, "sh", "x\n", "run"), (7, "python", "y\n  z\n", None), (11, "", "none\n", None)]
    assert len(BLOCKS) > 150
