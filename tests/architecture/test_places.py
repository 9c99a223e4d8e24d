"""Some things live in one place only: SQL, and the customers' spelling."""

import ast
import re

from tests.architecture.sources import PACKAGE, modules, texts

SQL = re.compile(
    r"^\s*(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|REPLACE\s+INTO\s"
    r"|(CREATE|DROP|ALTER)\s+(TABLE|INDEX|UNIQUE|VIEW|TRIGGER)\s|WITH\s+\w+(\s*\([^)]*\))?\s+AS\s|VALUES\s*\()"
)
CONNECTION_SQL = re.compile(r"^\s*(PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|ATTACH|VACUUM)\b")
ADAPTERS = ("store/sqlite/", "store/postgres/")
READ_BARE_ROWS = (*ADAPTERS, "store/records.py", "store/statements.py")
COMPOUND = re.compile(r"\b[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+\b")
CAMEL_CASE = re.compile(r"[a-z][a-z0-9]*([A-Z][a-z0-9]*)+")

SPEAKS_AS_A_CUSTOMER = {"demo"}
"""Rooms that are themselves clients of the customers' API."""

SPELLS_FOR_CUSTOMERS = {"wire"}
"""The room whose matter their spelling is."""

WIRE_PLACES = {
    "client/generating.py",  # OpenAPI's own spelling
    "api/openapi.py",  # OpenAPI's own spelling, and the names of what customers send
    "errors.py",  # the refusals' details, in the contract's spelling
}

PYTHONS_OWN = {"taskName"}
"""Names that the standard library spells so (fields of a log record)."""


def test_no_statement_stands_outside_the_sql_folder() -> None:
    """SQL lives in store/sql; what belongs to a connection and not to a noun, in its adapter."""
    wrong = [
        f"{module.place}:{line} {text.strip()[:60]!r}"
        for module in modules()
        for line, text in texts(module)
        if SQL.match(text) or (CONNECTION_SQL.match(text) and not module.place.startswith(ADAPTERS))
    ]

    assert not wrong, wrong


def test_sql_files_stand_only_in_the_sql_folder() -> None:
    """One folder holds every statement and every migration."""
    folder = PACKAGE / "store" / "sql"

    wrong = [path for path in PACKAGE.rglob("*.sql") if folder not in path.parents]

    assert not wrong, wrong


def test_the_customers_spelling_stands_in_wire_alone() -> None:
    """camelCase is the wire's; inside, fields have Python's names."""
    wrong = [
        f"{module.place}:{line} {text!r}"
        for module in modules()
        if module.place not in WIRE_PLACES and module.room not in SPELLS_FOR_CUSTOMERS | SPEAKS_AS_A_CUSTOMER
        for line, text in texts(module)
        if CAMEL_CASE.fullmatch(text) and text not in PYTHONS_OWN
    ]

    assert not wrong, wrong


def test_what_commands_print_names_no_class_of_ours() -> None:
    """A label or a message has words: a class that is renamed must not take a label along."""
    classes = {node.name for module in modules() for node in module.nodes if isinstance(node, ast.ClassDef)}
    aliases = {
        target.id
        for module in modules()
        for node in module.tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    wrong = [
        f"{module.place}:{line} {text!r}"
        for module in modules()
        if module.room in ("cli", "demo", "admin")
        for line, text in texts(module)
        if set(COMPOUND.findall(text)) & (classes | aliases)
    ]

    assert not wrong, wrong


def test_every_noun_of_the_store_stands_in_the_file_of_its_name() -> None:
    """``store.alerts`` is the class ``AlertStore`` of ``store/alerts.py``: a route leads to its SQL in three files."""
    nouns = {
        node.name: module.path.stem
        for module in modules()
        if module.room == "store"
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and "Noun" in [base.id for base in node.bases if isinstance(base, ast.Name)]
    }
    [store] = [module for module in modules() if module.place == "store/store.py"]
    held = {
        node.value.func.id: target.attr
        for node in ast.walk(store.tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
        for target in node.targets
        if isinstance(target, ast.Attribute) and node.value.func.id.endswith("Store")
    }

    assert "TaskStore" in nouns
    assert held == nouns


def test_rows_are_read_by_name_outside_the_adapters() -> None:
    """A row is a record: no operation takes a column by its number, or spreads a row over arguments."""
    wrong = [
        f"{module.place}:{node.lineno}"
        for module in modules()
        if module.room == "store" and not module.place.startswith(READ_BARE_ROWS)
        for node in module.nodes
        if (
            isinstance(node, ast.Subscript | ast.Starred)
            and isinstance(node.value, ast.Name)
            and node.value.id == "row"
        )
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "Query"
            and not _named(node)
        )
    ]

    assert not wrong, wrong


def _named(query: ast.Call) -> bool:
    """Whether a query names the record of its rows."""
    return len(query.args) > 2 or any(keyword.arg == "into" for keyword in query.keywords)


def test_every_module_opens_with_what_it_is_for() -> None:
    """Its first lines say what it is for, who calls it, what it must never do."""
    wrong = [module.place for module in modules() if module.tree.body and not ast.get_docstring(module.tree)]

    assert not wrong, wrong


PARSERS = {
    "api/reader.py",  # the strict reader itself
    "api/messages.py",  # records of operators, after the strict reader, and of workers, which are ours
    "api/openapi.py",  # our own file
    "api/lists.py",  # the operator's file
    "payloads.py",  # payload types, given bytes that the strict reader has read
    "wire/submissions.py",  # where an item or a payload begins and ends; what is in it goes through the strict reader
}
"""Who turns JSON into values in the rooms that serve callers, and why that is safe."""


def test_callers_json_is_parsed_in_few_places() -> None:
    """What strangers send goes through api/reader.py. Others may make decoders, and hand them to api/messages.py."""
    wrong = [
        f"{module.place}:{node.lineno} {ast.unparse(node.func)}"
        for module in modules()
        if module.room in ("api", "wire", "payloads") and module.place not in PARSERS
        for node in module.nodes
        if isinstance(node, ast.Call) and _parses(node.func)
    ]

    assert not wrong, wrong


def _parses(function: ast.expr) -> bool:
    """Whether this is a call that reads JSON: of the json modules, or of a decoder."""
    if not isinstance(function, ast.Attribute):
        return False
    of = ast.unparse(function.value)
    return function.attr in ("loads", "raw_decode", "convert", "validate_json") or (
        function.attr == "decode"
        and (of.endswith("json") or "decoder" in of or re.fullmatch(r"_[a-z_]+", of) is not None)
    )


def test_a_submitted_body_passes_the_strict_reader() -> None:
    """Whatever module of the api takes a body apart by wire's rules calls the strict reader, too."""
    takers = [
        module
        for module in modules()
        if module.room == "api"
        for node in module.nodes
        if isinstance(node, ast.Attribute) and node.attr in ("split_batch", "read_submission", "read_address")
    ]

    assert takers
    for module in takers:
        assert any(imported.target == "fairlane.api.reader.read_json" for imported in module.imports), module.place
