"""Pages can be found, and what they link to is there."""

import re
from pathlib import Path

from tests.tables import each

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "examples" / "README.md"])
INDEX = (DOCS / "index.md").read_text("utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


@each("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    """To files that are there, and to headings that they have."""
    for target, heading in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", prose(page)):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", prose(found), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, heading


@each("page", sorted(DOCS.rglob("*.md")))
def test_every_page_is_on_the_map(page: Path) -> None:
    """Decisions as a folder, the others each by its name, once."""
    named = re.findall(r"\]\(([^)]+)\)", INDEX)
    path = page.relative_to(DOCS)

    assert path.parts[0] in ("index.md", "decisions") or named.count(path.as_posix()) == 1


def test_the_readme_leads_to_the_map_and_is_short() -> None:
    """It is read whole."""
    readme = (ROOT / "README.md").read_text("utf-8")

    assert "](docs/index.md)" in readme
    assert len(readme.splitlines()) < 200
    assert "not there yet" not in readme.lower()


@each("example", EXAMPLES)
def test_every_example_is_introduced_and_served_by_a_test(example: Path) -> None:
    """A paragraph under its name, and the line that serves it."""
    page = (ROOT / "examples" / "README.md").read_text("utf-8")

    assert f"\n## {example.name}\n" in page
    assert f"fairlane serve examples/{example.name}:app" in page
    assert f"fairlane serve examples/{example.name}:app" in example.read_text("utf-8").partition('"""\n')[0]
