"""Requests and answers: the thin layer between ASGI and our endpoints.

An endpoint receives a :class:`Request` and returns an :class:`Answer`. Nothing here knows a route or the store.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_plus, unquote_to_bytes

from msgspec import Struct

from fairlane.api.bodies import STRANGERS, Bodies, HeldBody
from fairlane.errors import BodyTooLarge, EncodingRefused, Unavailable, ValidationRefused

BODY_SECONDS = 30.0
"""How long one request's body may take to arrive."""
DISCARD_BYTES_MOST = 16 * 1024 * 1024
"""Most bytes that are still read of a body that is refused for its size. A caller that sends before it reads then sees
the answer, not a reset."""
DISCARD_SECONDS = 2.0
PARAMETERS_MOST = 100
"""The most parameters of a query. No endpoint knows more than a few, and reading 5,000 takes a tenth of a second."""

ANSWER = "fairlane.answer"
"""The type of the message that is a complete answer, where the scope's extensions have it: status, headers, body. ASGI
has two messages for it."""
CLOSE = (b"connection", b"close")
NO_STORE = (b"cache-control", b"no-store")

Header = tuple[bytes, bytes]
Scope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
"""As ASGI 3 defines them."""
Result = TypeVar("Result")


class Answer(Struct, frozen=True):
    """An answer: a JSON body (or one of another type), its status, and headers in addition to type and length."""

    body: bytes
    status: int = 200
    headers: tuple[Header, ...] = ()
    content_type: bytes = b"application/json"


class Stream(Struct, frozen=True):
    """An answer that is sent in pieces, by default server-sent events."""

    pieces: AsyncGenerator[bytes, None]
    headers: tuple[Header, ...] = ()
    content_type: bytes = b"text/event-stream"


class Request:
    """One HTTP request.

    ``parameters`` are the decoded path segments that the route leaves open. ``marks`` are the headers of every answer
    to it, including refusals. ``holder``, set by the guard, is the caller for which the body counts.
    """

    __slots__ = ("_bodies", "_body", "_receive", "_scope", "holder", "id", "marks", "parameters")

    def __init__(self, scope: Scope, receive: Receive, *, id: str, parameters: tuple[str, ...] = ()) -> None:
        self._scope = scope
        self._receive = receive
        self._bodies: Bodies = scope.get("bodies") or Bodies()
        self._body: HeldBody | None = None
        self.holder = STRANGERS
        self.id = id
        self.parameters = parameters
        self.marks: tuple[Header, ...] = ()

    @property
    def method(self) -> str:
        """Return the method, as sent."""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """Return the path as sent, still percent-encoded, without the query."""
        return raw_path(self._scope).decode("latin-1")

    @property
    def client(self) -> str | None:
        """Return the peer's address, or None if unknown."""
        client = self._scope.get("client")
        return None if client is None else str(client[0])

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of that (lower-case) name."""
        for key, value in self._scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    def option(self, name: str) -> str | None:
        """Return the first value of one query parameter, ignoring all others, or None if it is missing."""
        for pair in bytes(self._scope.get("query_string", b"")).split(b"&"):
            key, _, value = pair.partition(b"=")
            if key == name.encode():
                return unquote_plus(value.decode("latin-1"))
        return None

    def every_header(self, name: bytes) -> list[str]:
        """Return the values of every header of that (lower-case) name."""
        return [value.decode("latin-1") for key, value in self._scope["headers"] if key == name]

    def query(self, *allowed: str) -> dict[str, str]:
        """Return the query's parameters.

        Raises:
            ValidationRefused: one is unknown or given twice, or they are too many.
        """
        text = self._scope.get("query_string", b"")
        if text.count(b"&") >= PARAMETERS_MOST:
            raise ValidationRefused.at("query", f"has more than {PARAMETERS_MOST} parameters")
        pairs = parse_qsl(text.decode("latin-1"), keep_blank_values=True)
        found: dict[str, str] = {}
        for name, value in pairs:
            if name not in allowed or name in found:
                raise ValidationRefused.at(name, "is not a known parameter" if name not in found else "is given twice")
            found[name] = value
        return found

    async def body(self, limit_bytes: int, *, report_limit: int | None = None) -> bytes:
        """Return the whole body.

        Raises:
            EncodingRefused: it is compressed.
            BodyTooLarge: it has more than ``limit_bytes``; the refusal names ``report_limit`` if given.
            Unavailable: the server already holds too many bytes of bodies.
            ValidationRefused: it did not arrive in time, or its declared length is invalid.
            ConnectionResetError: the caller disconnected.
        """
        codings = ",".join(self.every_header(b"content-encoding")).lower().replace(" ", "")
        if any(coding not in ("", "identity") for coding in codings.split(",")):
            raise EncodingRefused(codings)
        refusal = BodyTooLarge(limit_bytes if report_limit is None else report_limit)
        declared = self._declared_length()
        if declared is not None and declared > limit_bytes:
            if declared <= limit_bytes + DISCARD_BYTES_MOST:
                await self._discard(declared)
            raise refusal
        self._body = body = HeldBody(self.holder)
        try:
            async with asyncio.timeout(BODY_SECONDS) as deadline:
                whole = await self._gather(body, deadline, limit_bytes)
        except TimeoutError as error:
            if body.ended:
                raise Unavailable() from error
            raise ValidationRefused.at("body", f"did not arrive within {BODY_SECONDS:.0f} seconds") from error
        if whole is None:
            raise refusal
        return whole

    async def read(self, size: int, work: Callable[..., Result], *arguments: Any) -> Result:
        """Return ``work(*arguments)`` for a body of this size, off the event loop if that takes long."""
        return await self._bodies.read(self.holder, size, work, *arguments)

    def release(self) -> None:
        """Release the body, which is no longer needed. A request does this before it waits for something else."""
        if self._body is not None:
            self._bodies.give_back(self._body)

    async def gone(self) -> None:
        """Return once the caller has closed the connection. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _declared_length(self) -> int | None:
        value = self.header(b"content-length")
        if value is None:
            return None
        if not value.isdigit() or len(value) > 18:
            raise ValidationRefused.at("body", "has no sensible Content-Length")
        return int(value)

    async def _gather(self, body: HeldBody, deadline: asyncio.Timeout, limit_bytes: int) -> bytes | None:
        """Return the whole body, or None if it is larger than the limit."""
        whole = bytearray()
        try:
            while True:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise ConnectionResetError("the caller closed the connection while it was sending")
                part, more = message.get("body", b""), message.get("more_body", False)
                if len(whole) + len(part) > limit_bytes:
                    if more:
                        await self._discard(DISCARD_BYTES_MOST)
                    return None
                self._bodies.take(body, len(part), limit_bytes=limit_bytes)
                if not more:
                    return bytes(whole + part) if whole else bytes(part)
                if not whole:
                    self._bodies.expect(body, lambda: _expire(deadline))
                whole += part
        finally:
            self._bodies.arrived(body)

    async def _discard(self, most: int) -> None:
        """Read what still arrives, within limits. A caller that waits for "100 Continue" gets its answer instead."""
        if self.header(b"expect") is not None:
            return
        size = 0
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while size <= most:
                    message = await self._receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    size += len(message.get("body", b""))
        except TimeoutError:
            return


def _expire(deadline: asyncio.Timeout) -> None:
    """End a wait now, unless it just ends by itself."""
    if not deadline.expired():
        deadline.reschedule(0)


def raw_path(scope: Scope) -> bytes:
    """Return the path as sent. Routes match on this, because an idempotency key may contain an encoded slash."""
    return bytes(scope["raw_path"])


def decoded(segments: Sequence[bytes]) -> tuple[str, ...] | None:
    """Return path segments without their percent-encoding, or None if one is not UTF-8."""
    try:
        return tuple([(unquote_to_bytes(segment) if b"%" in segment else segment).decode() for segment in segments])
    except UnicodeDecodeError:
        return None


async def send_stream(send: Send, stream: Stream, *headers: Header, head_only: bool = False) -> None:
    """Send pieces as they come, until there are no more; to a HEAD request, none."""
    told = [(b"content-type", stream.content_type), *stream.headers, *headers]
    async with aclosing(stream.pieces) as pieces:
        await send({"type": "http.response.start", "status": 200, "headers": told})
        if not head_only:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def send_answer(send: Send, answer: Answer, *headers: Header, whole: bool = False) -> None:
    """Send one complete answer, with ``whole`` in one message."""
    body, told = answer.body, [*answer.headers, *headers]
    if answer.status == 304:  # Type and length would be read as those of the omitted body.
        body = b""
    else:
        told = [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(body)), *told]
    if whole:
        await send({"type": ANSWER, "status": answer.status, "headers": told, "body": body})
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": told})
    await send({"type": "http.response.body", "body": body})
