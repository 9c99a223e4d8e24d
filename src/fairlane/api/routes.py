"""Routes: one method at one path each, said once, next to its endpoint; and how a request finds its own.

Each class of endpoints lists its ``routes``. They make both what is served (:class:`Resource`, :class:`Surface`) and
``/openapi.json``. Paths are matched as sent, still percent-encoded. A guard is called before the method is checked, so
that strangers cannot find out what exists under a guarded prefix.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct
from uuid_utils import uuid4

from fairlane.api.bodies import Bodies
from fairlane.api.http import (
    ANSWER,
    Answer,
    Header,
    Receive,
    Request,
    Scope,
    Send,
    Stream,
    decoded,
    raw_path,
    send_answer,
    send_stream,
)
from fairlane.api.refusals import WallClock, answer_exception
from fairlane.errors import NotFound, Refusal
from fairlane.wire.schemas import JsonSchema

logger = logging.getLogger(__name__)

Who = TypeVar("Who")
Guard = Callable[[Request], Awaitable[Who]]
"""Identifies the caller, or refuses."""
Endpoint = Callable[[Request, Who], Awaitable[Answer | Stream]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one path, such as ``GET`` at ``/v1/async/task/{taskId}``, and its endpoint.

    What follows the endpoint describes it in ``/openapi.json``; a route without an ``id`` is not in the document.
    """

    method: str
    path: str
    endpoint: Callable[..., Awaitable[Answer | Stream]]
    """A method of the class that lists the route."""
    _: KW_ONLY
    id: str = ""
    """Unique; generated clients use it as the name of a function."""
    tag: str = ""
    summary: str = ""
    description: str = ""
    status: int = 200
    """Of the answer."""
    answer: Any = None
    """The type of the answer's body, from ``wire``; ``Any`` is a JSON value without a fixed shape."""
    examples: tuple[str, ...] = ()
    """Golden files that show the answer."""
    body: JsonSchema | None = None
    """The request body, or None if there is none."""
    query: Mapping[str, JsonSchema] = field(default_factory=dict)
    request_headers: Mapping[str, JsonSchema] = field(default_factory=dict)
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

    @property
    def line(self) -> str:
        """Return method and path, such as ``GET /v1/async/status``."""
        return f"{self.method} {self.path}"


Routes = tuple[Route, ...]


class Endpoints(Protocol):
    """An object of endpoints, and the routes that lead to its methods."""

    @property
    def routes(self) -> Routes:
        """Return the routes."""


class Resource(Generic[Who]):
    """All methods at one path. ``{name}`` in the path is one segment, passed to the endpoint decoded."""

    def __init__(self, path: str, guard: Guard[Who], methods: Mapping[str, Endpoint[Who]]) -> None:
        self.path = re.sub(r"\{\w*\}", "{}", path)
        self.guard = guard
        self.methods = dict(methods)
        """As described. HEAD is accepted wherever GET is, and is not listed here."""
        self.endpoints = self.methods | ({"HEAD": methods["GET"]} if "GET" in methods else {})
        self.pattern = re.compile(re.escape(self.path.encode()).replace(rb"\{\}", b"([^/]+)"))

    @property
    def exact(self) -> bool:
        """Return whether the path has no open segment."""
        return "{}" not in self.path

    def twin(self, prefix: str, guard: Guard[Who]) -> "Resource[Who]":
        """Return the same endpoints below a prefix, behind another guard of the same kind of callers."""
        return Resource(prefix + self.path, guard, self.methods)

    async def answer(self, request: Request, segments: Sequence[bytes]) -> Answer | Stream:
        """Return the endpoint's answer. Raises every refusal."""
        who = await self.guard(request)
        endpoint = self.endpoints.get(request.method)
        parameters = decoded(segments) if segments else ()
        if endpoint is None or parameters is None:
            raise NotFound.route(request.path)
        request.parameters = parameters
        return await endpoint(request, who)


def resources(served: Iterable[Endpoints], guard: Callable[[str], Guard[Who]]) -> list[Resource[Who]]:
    """Return one resource for each path of these endpoints. ``guard`` makes the guard of a path."""
    paths: dict[str, dict[str, Endpoint[Who]]] = {}
    for endpoints in served:
        for route in endpoints.routes:
            paths.setdefault(route.path, {})[route.method] = partial(route.endpoint, endpoints)
    return [Resource(path, guard(path), methods) for path, methods in paths.items()]


async def anybody(request: Request) -> None:
    """Let every request pass: a guard for what is open to all."""


class Part(Struct, Generic[Who], frozen=True):
    """Everything below one prefix, and its guard, which also protects unknown paths there."""

    prefix: str
    guard: Guard[Who]
    resources: Sequence[Resource[Who]]

    def covers(self, path: bytes) -> bool:
        """Return whether this path is below the prefix."""
        prefix = self.prefix.encode()
        return path == prefix or path.startswith(prefix + b"/")


class Surface:
    """The application of one listener: its parts, and the resources without a guard. Answers every request itself.

    ``resources`` is the complete list. A path without an open segment goes before those with one; a method that it
    lacks goes to the other, because a task's key may be the same as the last word of a path. The wiring replaces
    ``bodies`` if several surfaces form one server.
    """

    def __init__(
        self, parts: Sequence[Part[Any]], unguarded: Sequence[Resource[None]] = (), *, clock: WallClock
    ) -> None:
        self.bodies = Bodies()
        self.resources: list[Resource[Any]] = [*(one for part in parts for one in part.resources), *unguarded]
        self._exact = {one.path.encode(): one for one in self.resources if one.exact}
        self._open = [one for one in self.resources if not one.exact]
        self._parts = parts
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, including every error."""
        if scope["type"] != "http":
            return
        began = perf_counter()
        scope["bodies"] = self.bodies
        request = Request(scope, receive, id=str(uuid4()))
        path = raw_path(scope)
        try:
            answer = await self._answer(request, path)
        except ConnectionResetError:
            return  # The connection is closed, so no answer can be read.
        except Exception as error:  # noqa: BLE001 - every exception becomes an envelope
            allow = self._allow(request, path) if isinstance(error, NotFound) else ()
            answer = answer_exception(error, request_id=request.id, clock=self._clock, headers=allow)
        finally:
            request.release()
        marks = (*request.marks, *_marks(request, began))
        if isinstance(answer, Stream):
            await send_stream(send, answer, *marks, head_only=request.method == "HEAD")
        else:
            await send_answer(send, answer, *marks, whole=ANSWER in scope.get("extensions", ()))

    async def _answer(self, request: Request, path: bytes) -> Answer | Stream:
        resource = self._exact.get(path)
        if resource is not None and request.method in resource.endpoints:
            return await resource.answer(request, ())
        for one in self._open:
            match = one.pattern.fullmatch(path)
            if match is not None and (resource is None or request.method in one.endpoints):
                return await one.answer(request, match.groups())
        if resource is not None:
            return await resource.answer(request, ())
        for part in self._parts:
            if part.covers(path):
                await part.guard(request)
        raise NotFound.route(request.path)

    def _allow(self, request: Request, path: bytes) -> tuple[Header, ...]:
        """Return the methods that this path has, if the request's is not among them."""
        methods = {method for one in self.resources if one.pattern.fullmatch(path) for method in one.endpoints}
        return () if not methods or request.method in methods else ((b"allow", ", ".join(sorted(methods)).encode()),)


def _marks(request: Request, began: float) -> tuple[Header, Header]:
    latency_ms = int((perf_counter() - began) * 1000)
    return (b"x-request-id", request.id.encode()), (b"x-latency-ms", str(latency_ms).encode())
