"""The pages' files: read and compressed once, and sent with a policy that forbids external resources.

The page names its files below the hash of all of them, so a browser keeps them until a release changes one.
"""

import gzip
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from typing import ClassVar

from msgspec import Struct

from fairlane.api.http import Answer, Header, Request
from fairlane.api.routes import Route, Routes
from fairlane.dashboard.sessions import PATH
from fairlane.errors import NotFound

TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SAFETY: tuple[Header, ...] = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


GZIP = (b"content-encoding", b"gzip")
VARY = (b"vary", b"accept-encoding")
KEPT = (b"cache-control", b"public, max-age=31536000, immutable")
ASKED = (b"cache-control", b"no-cache")


class _File(Struct, frozen=True):
    body: bytes
    compressed: bytes
    content_type: bytes
    tag: bytes


class AssetEndpoints:
    """Every file of ``assets/``, in memory."""

    def __init__(self) -> None:
        read = dict(_read())
        self.version = sha256(b"".join(name.encode() + body for name, body in sorted(read.items()))).hexdigest()[:16]
        """The hash of all files, which is a part of their addresses."""
        base = f"{PATH}/assets/{self.version}/"
        # The browser asks for all modules at once, not for each after the one that imports it.
        modules = "".join(
            f'<link rel="modulepreload" href="{base}{name}">\n'
            for name in sorted(read)
            if name.endswith(".js") and name != "reference.js"
        )
        pages = {
            name: body.decode().replace("{modules}\n", modules).replace("{assets}/", base).encode()
            for name, body in read.items()
            if name.endswith(".html")
        }
        self._files = {name: _file(name, body) for name, body in (read | pages).items()}

    async def page(self, request: Request, who: None) -> Answer:
        """Return the dashboard; its modules decide what to show."""
        return self.answer(request, "index.html", ASKED)

    async def file(self, request: Request, who: None) -> Answer:
        """Return a file that the page needs. A page of another release gets the file of this one, to be asked again."""
        version, name = request.parameters
        return self.answer(request, name, KEPT if version == self.version else ASKED)

    def answer(self, request: Request, name: str, keeping: Header, vary: Header = VARY) -> Answer:
        """Return a file, or 304 if the browser has it. Raises NotFound."""
        found = self._files.get(name)
        if found is None:
            raise NotFound.route(request.path)
        headers = (*SAFETY, keeping, vary, (b"etag", found.tag))
        if found.tag == request.header(b"if-none-match"):
            return Answer(b"", 304, headers)
        if _takes_gzip(request):
            return Answer(found.compressed, headers=(*headers, GZIP), content_type=found.content_type)
        return Answer(found.body, headers=headers, content_type=found.content_type)

    routes: ClassVar[Routes] = (
        Route("GET", PATH, page),
        Route("GET", f"{PATH}/assets/{{version}}/{{file}}", file),
    )


def _takes_gzip(request: Request) -> bool:
    codings = (request.header(b"accept-encoding") or b"").decode("latin-1").lower().split(",")
    named = {name.strip(): weight.replace(" ", "") for name, _, weight in (one.partition(";") for one in codings)}
    return named.get("gzip", "q=0") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")


def _read() -> Iterator[tuple[str, bytes]]:
    for entry in files("fairlane.dashboard").joinpath("assets").iterdir():
        if entry.name.rpartition(".")[2] in TYPES:
            yield entry.name, entry.read_bytes()


def _file(name: str, body: bytes) -> _File:
    tag = f'W/"{sha256(body).hexdigest()[:32]}"'.encode()
    return _File(body, gzip.compress(body, 9, mtime=0), TYPES[name.rpartition(".")[2]], tag)
