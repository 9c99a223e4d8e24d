"""How a route is described: one :class:`Operation` per method and path, in a table beside the endpoints.

``openapi.py`` makes the document of them. Adding a route means adding its line to its module's ``OPERATIONS``; a test
compares the tables with the router.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fairlane.errors import Refusal

Schema = dict[str, Any]
"""JSON Schema, as of OpenAPI 3.1."""


class Operation(Struct, frozen=True, kw_only=True):
    """What one method does at one path, for those who call it."""

    id: str
    """Unique; generated clients name their functions by it."""
    tag: str
    summary: str
    description: str = ""
    answer: str
    """A name in ``wire.SHAPES``, or ``any`` for a JSON value of no fixed shape."""
    examples: tuple[str, ...] = ()
    """Golden files that show the answer."""
    body: str | None = None
    """What is sent: a name in ``openapi.REQUESTS``; None: no body."""
    query: Mapping[str, Schema] = {}
    request_headers: Mapping[str, Schema] = {}
    segments: tuple[str, ...] = ()
    """What the open segments of the path are, in order."""
    refusals: tuple[type[Refusal], ...] = ()
    """Beside those that every request may meet."""
    answer_headers: tuple[str, ...] = ()
    """Names in ``openapi.HEADERS``, beside those of every answer."""
    unchanged: bool = False
    """Whether it answers 304 to ``If-None-Match``."""
    fails: bool = False
    """Whether the handler's own failures are answered: any code with 400, 500 or 502."""
    open: bool = False
    """Whether it asks for no key."""


Operations = Mapping[str, Operation]
"""Operations by method and path, such as ``GET /v1/async/task/{taskId}``."""
