"""The page on scaling names statements; they have to exist."""

import re
from pathlib import Path

from fairlane.store.statements import load_statements

PAGE = Path(__file__).parents[2] / "docs" / "operators" / "scaling.md"


def test_every_statement_on_the_page_exists() -> None:
    """Each name in the table's second column is one of PostgreSQL's statements."""
    statements = load_statements("postgres")
    rows = [line.split("|")[2] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    named = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row)]

    assert len(named) > 10
    assert [name for name in named if name not in statements] == []
