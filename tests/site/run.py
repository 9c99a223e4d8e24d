"""``make docs``: build the site of the documents, check it, and serve it on loopback.

The build stops at a warning, such as a link to a heading that is not there. Afterwards every link and file of the built
pages is looked up, and no page may load anything from another host.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote, urlsplit

from tests.site.pages import ROOT, write_pages

CACHE = ROOT / ".cache"
SITE = CACHE / "site"
LOADS = {"script": "src", "img": "src", "source": "srcset", "iframe": "src", "link": "href", "use": "href"}
"""The attribute of each tag that makes a browser load something."""
NAMES_ONLY = ("canonical", "next", "prev")
"""Kinds of ``<link>`` that only name another page."""


def build() -> None:
    """Build the site.

    Raises:
        subprocess.CalledProcessError: there was a warning, and it was printed.
    """
    shutil.rmtree(CACHE / "pages", ignore_errors=True)
    (CACHE / "pages").mkdir(parents=True)
    described = {
        "INHERIT": "../tests/site/mkdocs.yml",
        "docs_dir": "pages",
        "site_dir": "site",
        "nav": write_pages(CACHE / "pages"),
    }
    (CACHE / "mkdocs.yml").write_text(json.dumps(described), "utf-8")  # JSON is YAML, too.
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", CACHE / "mkdocs.yml"],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )


class _Built(HTMLParser):
    """The links, the loaded files and the anchors of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag links to, loads and names."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and LOADS[tag] in given and given.get("rel") not in NAMES_ONLY:
            self.loaded.append(given[LOADS[tag]])


def faults(site: Path) -> Iterator[str]:
    """Return each link that leads nowhere, and each file that comes from another host, with its page."""
    pages = {
        path.relative_to(site).as_posix(): _Built(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))
    }
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    yield f"{name} loads {link}"
                continue
            place = normpath(f"{Path(name).parent}/{unquote(parts.path)}") if not parts.path.startswith("/") else None
            target = place if parts.path else name
            if target is not None and (site / target).is_dir():
                target = normpath(f"{target}/index.html")
            if name == "404.html":
                continue
            if target is None or not (site / target).is_file():
                yield f"{name} links to {link}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name} links to {link}, which has no such heading"
    for path in sorted(site.rglob("*.css")):
        for url in re.findall(r"""(?:url\(|@import\s*)["']?((?:https?:)?//[^"')]+)""", path.read_text("utf-8")):
            yield f"{path.relative_to(site)} loads {url}"


def serve(port: int) -> None:
    """Serve the built site until Ctrl-C."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"docs: http://127.0.0.1:{server.server_port}/  (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def main() -> None:
    """Build and check, then serve."""
    options = argparse.ArgumentParser(prog="make docs")
    options.add_argument("--no-serve", action="store_true", help="only build and check")
    options.add_argument("--port", type=int, default=8080)
    given = options.parse_args()
    try:
        build()
    except subprocess.CalledProcessError:
        sys.exit("docs: the site was not built")
    if found := list(faults(SITE)):
        sys.exit("\n".join(["docs: the site has faults", *found]))
    print(f"docs: built in {SITE.relative_to(ROOT)}, every link leads somewhere, and nothing comes from another host")
    if not given.no_serve:
        serve(given.port)


if __name__ == "__main__":
    main()
