"""``/`` and ``/docs`` on the customers' port: a page that leads people on, and the reference of this server's own API.

The reference is a file like those of the dashboard, under the same policy. Its program reads ``/openapi.json`` and
sends requests with the key that its reader enters; the server has no part in it.
"""

from typing import ClassVar

from fairlane.api.http import Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.dashboard.assets import ASKED, AssetEndpoints
from fairlane.errors import NotFound

REFERENCE = "/docs"


class ReferencePages:
    """The two pages."""

    def __init__(self, assets: AssetEndpoints) -> None:
        self._assets = assets

    async def entrance(self, request: Request, who: None) -> Answer:
        """Return the page for people. Programs, which do not ask for HTML, get the same 404 as on an unknown path."""
        if b"text/html" not in (request.header(b"accept") or b"").lower():
            raise NotFound.route(request.path)
        return self._assets.answer(request, "entrance.html", ASKED, vary=(b"vary", b"accept, accept-encoding"))

    async def reference(self, request: Request, who: None) -> Answer:
        """Return the reference."""
        return self._assets.answer(request, "reference.html", ASKED)

    routes: ClassVar[Routes] = (
        Route("GET", "/", entrance),
        Route("GET", REFERENCE, reference),
    )
