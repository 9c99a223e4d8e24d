"""Reading web pages from untrusted URLs. Serve it with ``fairlane serve examples/pages.py:app``."""

import codecs
import os
from html.parser import HTMLParser
from typing import Annotated, Any

import msgspec

from fairlane import Fail, Fairlane, Retry
from fairlane.fetching import Fetcher, FetchFailed, FetchRefused

app = Fairlane()
# PAGES_ALLOW_PRIVATE=1 is for tests on this machine: with it callers can read everything that the worker can reach.
fetcher = Fetcher(most_bytes=2_000_000, timeout_seconds=20, private=os.environ.get("PAGES_ALLOW_PRIVATE") == "1")


class Address(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller sends as ``payload``."""

    url: Annotated[str, msgspec.Meta(max_length=2048)]


@app.task("PAGE", timeout=30, attempts=3)
async def page(address: Address) -> dict[str, Any]:
    """Title, text and links of a page."""
    try:
        found = await fetcher.fetch(address.url)
    except FetchRefused as refused:
        raise Fail("URL_REFUSED", str(refused)) from refused
    except FetchFailed as failed:
        raise Retry(str(failed), after=5) from failed
    if found.status == 429 or found.status >= 500:
        raise Retry(f"the site answered {found.status}", after=30)
    reader = Reader()
    reader.feed(found.body.decode(charset(found.headers.get("content-type", "")), "replace"))
    reader.close()
    return {
        "url": found.url,
        "status": found.status,
        "title": " ".join(reader.title.split()),
        "text": " ".join(" ".join(reader.text).split()),
        "links": reader.links,
    }


def charset(content_type: str) -> str:
    """Return the encoding that a page declares, if Python knows it."""
    name = content_type.partition("charset=")[2].partition(";")[0].strip('" ') or "utf-8"
    try:
        codecs.lookup(name)
    except LookupError:
        return "utf-8"
    return name


class Reader(HTMLParser):
    """Collects the text that a person would read."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.text: list[str] = []
        self.links: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("title", "script", "style"):
            self._inside.append(tag)
        if tag == "a" and (href := dict(attrs).get("href")):
            self.links.append(href)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside == ["title"]:
            self.title += data
        elif not self._inside:
            self.text.append(data)
