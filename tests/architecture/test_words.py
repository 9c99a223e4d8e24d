"""One word per concept (style, section 2). Only the unambiguous ones are looked for, and only where we choose the name:
in what our Python defines and in our SQL, never in prose."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.sources import PACKAGE, REPOSITORY, Module, functions, modules

NOT_OUR_WORDS = {
    "account": "organization",
    "backend": "database or store",
    "backlog": "queue",
    "callback": "webhook",
    "consumer": "worker",
    "credential": "key",
    "dao": "store",
    "driver": "database",
    "heartbeat": "session",
    "job": "task",
    "org": "organization",
    "permit": "slot",
    "quota": "plan",
    "repository": "store",
    "reservation": "lease",
    "semaphore": "slot",
    "tenant": "organization",
    "tier": "plan",
}
TEXT_SUFFIXES = {".py", ".sql", ".md", ".html", ".js", ".css", ".json", ".toml", ".yaml", ".yml", ".conf", ".service"}
EMPTY_PREFIXES = ("get_", "do_", "handle_", "process_", "perform_")
EMPTY_WORDS = {"manager", "service", "helper", "base", "impl"}


def test_names_use_our_words() -> None:
    """Functions, classes, arguments, variables and fields are called by the words of the table."""
    wrong = [
        f"{module.place}:{line} {name}: say {NOT_OUR_WORDS[word]}"
        for module in modules()
        for line, name in names(module)
        for word in words(name) & NOT_OUR_WORDS.keys()
    ]

    assert not wrong, wrong


def test_statements_use_our_words() -> None:
    """Tables, columns, parameters and the statements themselves are called by the words of the table."""
    wrong = [
        f"{path.name}: {word}: say {NOT_OUR_WORDS[word]}"
        for path in sorted((PACKAGE / "store" / "sql").rglob("*.sql"))
        for word in words(_without_prose(path.read_text("utf-8"))) & NOT_OUR_WORDS.keys()
    ]

    assert not wrong, wrong


def test_names_say_something() -> None:
    """No prefix that only says that a function does something, no suffix that only says that a class is one."""
    prefixed = [
        f"{module.place}:{function.lineno} {function.name}"
        for module in modules()
        for function in functions(module)
        if function.name.lstrip("_").startswith(EMPTY_PREFIXES)
    ]
    empty = [
        f"{module.place}:{node.lineno} {node.name}"
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.ClassDef) and words(node.name) & EMPTY_WORDS
    ]

    assert not prefixed + empty, prefixed + empty


def names(module: Module) -> Iterator[tuple[int, str]]:
    """Every name this module defines, with its line."""
    for node in module.nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield node.lineno, name
    yield 0, module.path.stem


def words(name: str) -> set[str]:
    """The words of one or more names, in lower case and singular."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Za-z]+", apart.replace("_", " "))}


def _without_prose(sql: str) -> str:
    return re.sub(r"--.*|'[^'\n]*'", "", sql)


ASYNCIOS_OWN = re.compile(r"CancelledError|\.cancelled\(\)|\bcancelling\(\)")
OTHER_SPELLING = re.compile(r"cancell(?:ed|ing)", re.IGNORECASE)


def test_canceled_has_one_spelling() -> None:
    """In names and texts, of source, tests and documents; asyncio's own names are spelled as asyncio does."""
    folders = ("src", "tests", "docs", "examples", "benchmarks", "deploy", "changelog.d")
    paths = [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.suffix in TEXT_SUFFIXES]
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{number} {line.strip()}"
        for path in [*paths, *REPOSITORY.glob("*.md")]
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if OTHER_SPELLING.search(ASYNCIOS_OWN.sub("", line))
    ]

    assert not wrong, wrong
