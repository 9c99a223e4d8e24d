"""The pages of the site: README is its first page, and the list in docs/index.md is its navigation.

Pages link to files of the repository outside ``docs/``. Each such file becomes a page of the site and the links lead
there, so a page reads the same in a clone and on the site.
"""

import json
import re
import shutil
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIRST, LIST = "README.md", "docs/index.md"
MOVED = {FIRST: "index.md", LIST: "all-pages.md"}
ICON = "src/fairlane/dashboard/assets/icon.svg"

_CODE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(
    r'(?<=\]\()[^()\s#:]+(?=[#)])|(?<=src=")[^"#:]+(?=")|(?<=href=")[^"#:]+(?=["#])|(?<=srcset=")[^"#:]+(?=")'
)
_ITEM = re.compile(r"\[([^\]]+)\]\(([^)#:]+)\)")


def write_pages(folder: Path) -> list[dict[str, Any]]:
    """Write every page and picture of the site into an empty folder, and return the navigation."""
    places = [FIRST, *(path.relative_to(ROOT).as_posix() for path in sorted(DOCS.rglob("*")) if path.is_file())]
    for place in places:  # The list grows: a page may link to a file that is not listed yet.
        page = folder / on_site(place)
        page.parent.mkdir(parents=True, exist_ok=True)
        text = page_of(place)
        if text is None:
            shutil.copyfile(ROOT / place, page)
            continue
        page.write_text(relinked(text, place), "utf-8")
        places += sorted(set(targets(text, place)) - set(places))
    shutil.copyfile(ROOT / ICON, folder / "icon.svg")
    listed: list[dict[str, Any]] = [{"fairlane": MOVED[FIRST]}, *navigation((ROOT / LIST).read_text("utf-8"))]
    text = json.dumps(listed)
    others = [on_site(place) for place in places if page_of(place) is not None]
    return [*listed, {"Files": sorted(page for page in others if json.dumps(page) not in text)}]


def on_site(place: str) -> str:
    """Return the page that shows a file or a folder of the repository, such as ``examples/chat.py.md``."""
    if place in MOVED:
        return MOVED[place]
    path = PurePosixPath(place)
    if (ROOT / place).is_dir():
        return f"{_inside(path)}/index.md"
    if place.startswith("docs/"):
        return str(_inside(path))
    if path.name == "README.md":
        return f"{path.parent}/index.md"
    return f"{path}".lower() if path.suffix == ".md" else f"{path}.md"


def _inside(path: PurePosixPath) -> PurePosixPath:
    return path.relative_to("docs") if path.parts[0] == "docs" else path


def page_of(place: str) -> str | None:
    """Return the text of a page: a Markdown file, the text of another file, or what a folder has.

    Return None for a file of ``docs/`` that is not a page, such as a picture.
    """
    path = ROOT / place
    if path.is_dir():
        entries = sorted(entry for entry in path.rglob("*") if entry.is_file())
        return "\n".join([f"# {path.name.capitalize()}", "", *(_entry_of(entry, path) for entry in entries), ""])
    if path.suffix == ".md":
        return path.read_text("utf-8")
    if place.startswith("docs/"):
        return None
    return f"# {place}\n\n{_shown(path)}"


def _entry_of(entry: Path, folder: Path) -> str:
    """Return a line that links to a page of a folder, or the text of another file."""
    if entry.suffix == ".md":
        title = entry.read_text("utf-8").partition("\n")[0].lstrip("# ")
        return f"- [{title}]({entry.relative_to(folder)})"
    return f"## {entry.relative_to(folder)}\n\n{_shown(entry)}"


def _shown(path: Path) -> str:
    return f"```{path.suffix.lstrip('.')}\n{path.read_text('utf-8').rstrip()}\n```\n"


def targets(text: str, place: str) -> list[str]:
    """Return the places in the repository that a page links to."""
    if not place.endswith(".md"):
        return []
    found = (_target(place, link) for link in _LINK.findall(_CODE.sub("", text)))
    return [target for target in found if target is not None]


def relinked(text: str, place: str) -> str:
    """Return the text of a page with its links as they are on the site; code stays as it is."""
    if not place.endswith(".md"):
        return text
    page = PurePosixPath(on_site(place))

    def lead(link: re.Match[str]) -> str:
        target = _target(place, link[0])
        return relpath(on_site(target), page.parent) if target else link[0]

    parts: list[str] = []
    end = 0
    for code in _CODE.finditer(text):
        parts += [_LINK.sub(lead, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, _LINK.sub(lead, text[end:])])


def _target(place: str, link: str) -> str | None:
    """Return where a link of a page leads to in the repository, or None if it leads elsewhere."""
    target = normpath(f"{PurePosixPath(place).parent}/{link}")
    if target.startswith("..") or not (ROOT / target).exists():
        return None
    readme = f"{target}/README.md"
    return readme if (ROOT / readme).exists() else target


def navigation(index: str) -> list[dict[str, Any]]:
    """Return the sections of a list of pages: a heading, or a line above a list, and the links below it."""
    sections: list[dict[str, Any]] = []
    pages: list[Any] = []
    group: list[Any] = pages
    for line in index.splitlines():
        if line.startswith("## "):
            pages = group = []
            sections.append({line[3:]: pages})
        elif line.endswith(":") and sections:
            group = []
            pages.append({line[:-1]: group})
        elif line.startswith("- "):
            group += [_entry(title, target) for title, target in _ITEM.findall(line)]
    return sections


def _entry(title: str, link: str) -> dict[str, Any]:
    name = title.replace("`", "")
    place = _target(LIST, link)
    assert place is not None, link
    listed = sorted(entry.name for entry in (ROOT / place).glob("*.md"))
    page: Any = [on_site(place), *(on_site(f"{place}/{entry}") for entry in listed)] if listed else on_site(place)
    return {name[0].upper() + name[1:]: page}
