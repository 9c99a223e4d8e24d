"""One request and its answer on a connection: uvicorn's cycle, with a complete answer in one message and one write.

Created by ``listener.py`` for each request. uvicorn's own messages still work; streams use them. Builds on the
internals of uvicorn 0.50 to 0.54, like ``listener.py``.
"""

import asyncio
import re
from collections.abc import Callable, Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from fairlane.api.http import ANSWER, CLOSE, AsgiApplication, AsgiMessage, Header, Receive, Scope, Send

DISCONNECT: AsgiMessage = {"type": "http.disconnect"}
EXTENSIONS: dict[str, dict[object, object]] = {ANSWER: {}}
UNSAFE = re.compile(b"[\x00-\x08\x0a-\x1f\x7f]")
"""Bytes that would end the value of a header."""


class Cycle(RequestResponseCycle):
    """A request that is being answered."""

    broken = False
    """Whether its body turned out to be malformed while it was being answered."""
    parting = False
    """Whether it was answered before its body was complete. Bytes after the body are not another request."""

    def __init__(
        self,
        protocol: HttpToolsProtocol,
        transport: asyncio.Transport,
        *,
        keep_alive: bool,
        refuse: Callable[[], None],
    ) -> None:
        """``refuse`` answers in place of the application, if the request is broken and has no answer yet."""
        super().__init__(
            scope=protocol.scope,
            transport=transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=False,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=keep_alive,
            on_response=protocol.on_response_complete,
        )
        self.scope["extensions"] = EXTENSIONS
        self._app: AsgiApplication = protocol.app
        self._refuse = refuse

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. It sees a broken request as a caller that has gone."""
        await self._app(scope, receive, send)
        if self.broken and not self.response_started:
            self.disconnected = True
            self._refuse()

    async def receive(self) -> AsgiMessage:  # type: ignore[override]
        message: AsgiMessage = await super().receive()  # type: ignore[assignment]
        return DISCONNECT if self.broken else message

    async def send(self, message: AsgiMessage) -> None:  # type: ignore[override]
        kind = message["type"]
        if kind == ANSWER:
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            if not self.disconnected:
                self._answer(message["status"], message["headers"], message["body"])
            return
        early = kind == "http.response.start" and self.more_body
        if early and CLOSE not in message["headers"]:
            message["headers"] = [*message["headers"], CLOSE]
        await super().send(message)  # type: ignore[arg-type]
        if early:
            self._part()

    def _answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Write a complete answer. Its headers have the length of the body."""
        if self.response_started:
            raise RuntimeError("a second answer to one request")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.keep_alive = self.keep_alive and not self.more_body and CLOSE not in headers
        fields = [*self.default_headers, *headers]
        if not self.keep_alive and CLOSE not in headers:
            fields.append(CLOSE)
        if UNSAFE.search(b"".join([value for _, value in fields])) is not None:
            raise RuntimeError("a header with a control character")
        pieces = [STATUS_LINE[status]]
        for name, value in fields:
            pieces += (name, b": ", value, b"\r\n")
        pieces += (b"\r\n", b"" if self.scope["method"] == "HEAD" else body)
        self.transport.write(b"".join(pieces))
        self.message_event.set()
        if self.more_body:
            self._part()
        elif not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _part(self) -> None:
        """Leave the connection open for the rest of the body. uvicorn would close it at once: later bytes of the body
        would cause a reset, and the answer would be lost.
        """
        self.parting = self.keep_alive = True
