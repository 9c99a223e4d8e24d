"""How a route is described: one :class:`Operation` per method and path, in a table next to the endpoints.

``openapi.py`` builds the document from them. A new route needs a line in its module's ``OPERATIONS``; a test compares
the tables with the router.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fairlane.errors import Refusal

Schema = dict[str, Any]
"""JSON Schema, as in OpenAPI 3.1."""


class Operation(Struct, frozen=True, kw_only=True):
    """The description of one method at one path, for callers."""

    id: str
    """Unique; generated clients use it as the name of a function."""
    tag: str
    summary: str
    description: str = ""
    answer: str
    """A name in ``wire.SHAPES``, or ``any`` for a JSON value without a fixed shape."""
    examples: tuple[str, ...] = ()
    """Golden files that show the answer."""
    body: str | None = None
    """The request body: a name in ``openapi.REQUESTS``, or None for no body."""
    query: Mapping[str, Schema] = {}
    request_headers: Mapping[str, Schema] = {}
    segments: tuple[str, ...] = ()
    """Descriptions of the open segments of the path, in order."""
    refusals: tuple[type[Refusal], ...] = ()
    """In addition to those that every request may get."""
    answer_headers: tuple[str, ...] = ()
    """Names in ``openapi.HEADERS``, in addition to those of every answer."""
    unchanged: bool = False
    """Whether it answers 304 to ``If-None-Match``."""
    fails: bool = False
    """Whether failures that the handler declares are answered: any code with 400, 500 or 502."""
    open: bool = False
    """Whether it needs no key."""


Operations = Mapping[str, Operation]
"""Operations by method and path, such as ``GET /v1/async/task/{taskId}``."""
