"""The pages' files: read once, sent with their hash as tag, and with a policy that forbids external resources."""

from collections.abc import Mapping
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


class _File(Struct, frozen=True):
    body: bytes
    content_type: bytes
    tag: bytes


class AssetEndpoints:
    """Every file of ``assets/``, in memory."""

    def __init__(self) -> None:
        self._files = dict(_files())

    async def page(self, request: Request, who: None) -> Answer:
        """Return the only page; its modules decide what to show."""
        return self._answer(request, "index.html")

    async def file(self, request: Request, who: None) -> Answer:
        """Return a file that the page needs."""
        [name] = request.parameters
        return self._answer(request, name)

    def _answer(self, request: Request, name: str) -> Answer:
        found = self._files.get(name)
        if found is None:
            raise NotFound.route(request.path)
        headers = (*SAFETY, (b"cache-control", b"no-cache"), (b"etag", found.tag))
        if found.tag == request.header(b"if-none-match"):
            return Answer(b"", 304, headers)
        return Answer(found.body, headers=headers, content_type=found.content_type)

    routes: ClassVar[Routes] = (
        Route("GET", PATH, page),
        Route("GET", f"{PATH}/assets/{{file}}", file),
    )


def _files() -> Mapping[str, _File]:
    found = {}
    for entry in files("fairlane.dashboard").joinpath("assets").iterdir():
        content_type = TYPES.get(entry.name.rpartition(".")[2])
        if content_type is not None:
            body = entry.read_bytes()
            found[entry.name] = _File(body, content_type, f'"{sha256(body).hexdigest()[:32]}"'.encode())
    return found
