"""The site has every page, its links lead somewhere, and it loads nothing from another host."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site.pages import ROOT, navigation, on_site, relinked, write_pages
from tests.site.run import faults


def test_every_page_and_every_file_that_pages_link_to_is_on_the_site(tmp_path: Path) -> None:
    """Also what is outside of docs/; each is in the navigation once."""
    written = str(write_pages(tmp_path))
    pages = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")]

    assert {"index.md", "architecture.md", "examples/index.md", "decisions/index.md", "api/README.md"} <= set(pages)
    assert [page for page in pages if written.count(f"'{page}'") != 1] == []
    assert (tmp_path / "index.md").read_text("utf-8").startswith("# fairlane\n")


@pytest.mark.parametrize(
    ("place", "page"),
    [
        ("README.md", "index.md"),
        ("ARCHITECTURE.md", "architecture.md"),
        ("docs/api/README.md", "api/README.md"),
        ("docs/decisions", "decisions/index.md"),
        ("examples/README.md", "examples/index.md"),
        ("examples/quickstart.py", "examples/quickstart.py.md"),
    ],
)
def test_files_have_a_place_on_the_site(place: str, page: str) -> None:
    """Pages of docs/ keep theirs."""
    assert on_site(place) == page


def test_links_lead_to_the_same_files_as_in_a_clone() -> None:
    """Headings stay; other hosts, headings of the same page and code are left alone."""
    text = (
        "[a](../ARCHITECTURE.md#the-tables) [b](https://x.example/README.md) [c](#d)\n```sh\n[e](../README.md)\n```\n"
    )

    assert relinked(text, "docs/tutorial.md") == text.replace("../ARCHITECTURE.md", "architecture.md")
    assert relinked('<img src="docs/images/dashboard-now.png">', "README.md") == '<img src="images/dashboard-now.png">'


def test_the_list_of_pages_is_the_navigation() -> None:
    """Headings and the lines above lists are its sections."""
    index = "## One\n\n- [x](tutorial.md): text\n\n## Two\n\nFor you:\n\n- [y](api/status.md), [`z`](api/tasks.md)\n"

    assert navigation(index) == [
        {"One": [{"X": "tutorial.md"}]},
        {"Two": [{"For you": [{"Y": "api/status.md"}, {"Z": "api/tasks.md"}]}]},
    ]


def test_faults_of_built_pages_are_noticed(tmp_path: Path) -> None:
    """A link to nothing, a heading that is not there, and a file of another host; links to other hosts are fine."""
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top"></h1><a href="a/#here">1</a><a href="a/#there">2</a><a href="b/">3</a><a href="#top">4</a>'
        '<a href="https://x.example">5</a><script src="https://x.example/y.js"></script><img src="z.png">'
    )
    (tmp_path / "a" / "index.html").write_text('<p id="here"></p><link rel="stylesheet" href="../style.css">')
    (tmp_path / "style.css").write_text("@import 'https://x.example/f.css'; a { background: url(data:x) }")

    assert sorted(faults(tmp_path)) == [
        "index.html links to a/#there, which has no such heading",
        "index.html links to b/",
        "index.html links to z.png",
        "index.html loads https://x.example/y.js",
        "style.css loads https://x.example/f.css",
    ]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None and not os.environ.get("CI"), reason="`make docs` brings the builder"
)
def test_the_site_is_built_without_a_warning() -> None:
    """And without a fault; what was built has the docstrings of the client."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.site.run", "--no-serve"], check=False, cwd=ROOT, capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    built = (ROOT / ".cache" / "site" / "reference" / "python" / "index.html").read_text("utf-8")
    assert "Once this returns, the task is safe." in built
