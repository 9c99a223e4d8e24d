"""Resources: one object per path, with a table of methods, matched on the raw path.

A resource calls its guard before it checks the method, so that strangers cannot find out what exists under a guarded
prefix. The framework never answers: a path without a resource gets our own 404.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Generic, TypeVar

from msgspec import Struct
from starlette.routing import BaseRoute, Match, Router
from starlette.types import Receive, Scope, Send
from uuid_utils import uuid4

from fairlane.api.bodies import Bodies
from fairlane.api.http import Answer, Header, Request, Stream, decoded, raw_path, send_answer, send_stream
from fairlane.api.refusals import Clock, answer_exception
from fairlane.errors import NotFound

logger = logging.getLogger(__name__)

Who = TypeVar("Who")
Guard = Callable[[Request], Awaitable[Who]]
"""Identifies the caller, or refuses."""
Endpoint = Callable[[Request, Who], Awaitable[Answer | Stream]]


class Resource(BaseRoute, Generic[Who]):
    """All methods at one path. ``{}`` in the path is one segment, passed to the endpoint decoded.

    With ``yields``, methods that this resource lacks go to the resource with an open segment in its place: a task's key
    may be the same as the last word of a path.
    """

    def __init__(
        self,
        path: str,
        guard: Guard[Who],
        methods: Mapping[str, Endpoint[Who]],
        *,
        clock: Clock,
        yields: bool = False,
    ) -> None:
        self.path = path
        self.yields = yields
        self.guard = guard
        self.methods = dict(methods)
        """As described. HEAD is accepted wherever GET is, and is not listed here."""
        self._endpoints = self.methods | ({"HEAD": methods["GET"]} if "GET" in methods else {})
        self.beside: dict[str, Sequence[str]] = {}
        """The methods of the resources that yield to this one, by their paths."""
        self._clock = clock
        self._exact = path.encode() if "{}" not in path else None
        self._pattern = re.compile(re.escape(path.encode()).replace(rb"\{\}", b"([^/]+)"))

    def twin(self, prefix: str, guard: "Guard[Who]") -> "Resource[Who]":
        """Return the same endpoints below a prefix, behind another guard of the same kind of callers."""
        return Resource(prefix + self.path, guard, self.methods, clock=self._clock, yields=self.yields)

    def covers(self, path: str) -> bool:
        """Return whether the open segments can stand for this path."""
        return self._exact is None and self._pattern.fullmatch(path.encode()) is not None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether this is the resource at the request's path. Methods are decided here, not by the router."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path = raw_path(scope)
        if self._exact is not None:
            mine = path == self._exact and not (self.yields and scope["method"] not in self._endpoints)
            return (Match.FULL, {}) if mine else (Match.NONE, {})
        match = self._pattern.fullmatch(path)
        return (Match.NONE, {}) if match is None else (Match.FULL, {"path_params": match.groups()})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, including every error."""
        began = perf_counter()
        request = Request(scope, receive, id=str(uuid4()))
        try:
            answer = await self._answer(request, scope.get("path_params", ()))
        except ConnectionResetError:
            return  # The connection is closed, so no answer can be read.
        except Exception as error:  # noqa: BLE001 - every exception becomes an envelope
            answer = answer_exception(
                error, request_id=request.id, clock=self._clock, headers=self._allow(request, error)
            )
        finally:
            request.release()
        marks = (*request.marks, *_marks(request, began))
        if isinstance(answer, Stream):
            await send_stream(send, answer, *marks, head_only=request.method == "HEAD")
        else:
            await send_answer(send, answer, *marks)

    async def _answer(self, request: Request, segments: Sequence[bytes]) -> Answer | Stream:
        who = await self.guard(request)
        endpoint = self._endpoints.get(request.method)
        parameters = decoded(segments) if segments else ()
        if endpoint is None or parameters is None:
            raise NotFound.route(request.path)
        request.parameters = parameters
        return await endpoint(request, who)

    def _allow(self, request: Request, error: Exception) -> tuple[Header, ...]:
        if request.method in self._endpoints or not isinstance(error, NotFound):
            return ()
        methods = sorted({*self._endpoints, *self.beside.get(request.path, ())})
        return ((b"allow", ", ".join(methods).encode()),)


class Part(Struct, Generic[Who], frozen=True):
    """Everything below one prefix, and its guard, which also protects unknown paths there."""

    prefix: str
    guard: Guard[Who]
    resources: Sequence[Resource[Who]]


class Nowhere:
    """Answers paths without a resource: our 404, behind the guard of the part that has the prefix of the path."""

    def __init__(self, parts: Sequence[Part[Any]], *, clock: Clock) -> None:
        self._guards = [(part.prefix.encode(), part.prefix.encode() + b"/", part.guard) for part in parts]
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = perf_counter()
        request = Request(scope, receive, id=str(uuid4()))
        try:
            path = raw_path(scope)
            for top, below, guard in self._guards:
                if path == top or path.startswith(below):
                    await guard(request)
            raise NotFound.route(request.path)
        except Exception as error:  # noqa: BLE001 - as for a resource
            answer = answer_exception(error, request_id=request.id, clock=self._clock)
        await send_answer(send, answer, *request.marks, *_marks(request, began))


class Surface:
    """The application of one listener: its parts, the most used first, and the resources without a guard.

    Below it is a bare router: no middleware, no redirects, no lifespan. ``resources`` is the complete list. The wiring
    replaces ``bodies`` if several surfaces form one server.
    """

    def __init__(self, parts: Sequence[Part[Any]], unguarded: Sequence[Resource[None]] = (), *, clock: Clock) -> None:
        self.bodies = Bodies()
        self.resources: list[Resource[Any]] = [one for part in parts for one in part.resources]
        self.resources += unguarded
        for one in (one for one in self.resources if one.yields):
            for other in (other for other in self.resources if other.covers(one.path)):
                other.beside[one.path] = tuple(one._endpoints)
        self._router = Router(routes=self.resources, redirect_slashes=False, default=Nowhere(parts, clock=clock))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["bodies"] = self.bodies
        await self._router(scope, receive, send)


def _marks(request: Request, began: float) -> tuple[Header, Header]:
    latency_ms = int((perf_counter() - began) * 1000)
    return (b"x-request-id", request.id.encode()), (b"x-latency-ms", str(latency_ms).encode())
