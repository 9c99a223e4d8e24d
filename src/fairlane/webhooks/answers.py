"""The answer to a webhook, as far as it matters: the status line decides, and what follows it is only counted.

Fed by the poster with the bytes of one connection. Does no I/O. Receivers with broken headers have received the message
all the same, so nothing after the status line can make an answer invalid.
"""

import re

STATUS_LINE_BYTES_MAX = 64
"""Beyond so many bytes without a status the answer is not HTTP."""
RETRY_AFTER_BYTES_MAX = 64
"""A moment or a number of seconds is shorter."""

_STATUS = re.compile(rb"[\r\n]*HTTP/[0-9](?:\.[0-9])?[ \t]+([1-9][0-9]{2})(?=[ \t\r\n])")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LAST_CHUNK = b"0\r\n\r\n"
_SWITCHING = 101


class NotHttp(Exception):
    """What came is no answer of HTTP."""


class AnswerReader:
    """One answer: interim ones are skipped, the status is kept, and the end of the body is recognized if it can be."""

    def __init__(self) -> None:
        self.status: int | None = None
        """Of the final answer; None: it is not known yet."""
        self.retry_after: str | None = None
        """What the final answer says in ``Retry-After``, if its headers were read to their end."""
        self.over = False
        """Nothing more is to come, by what the headers say."""
        self._kept = b""
        self._interim = False
        self._head = True
        self._length: int | None = None
        self._chunked = False
        self._body_bytes = 0

    def receive(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            NotHttp: they do not begin with a status line of HTTP/1, or they switch to another protocol.
        """
        if not self._head:
            self._read_body(data)
            return
        self._kept += data
        while self.status is None:
            if self._interim and not self._skip_head():
                return
            if not self._read_status():
                return
        self._read_head()

    def _read_status(self) -> bool:
        """Read a status line; False: more bytes are needed."""
        match = _STATUS.match(self._kept)
        if match is None:
            if len(self._kept) > STATUS_LINE_BYTES_MAX or b"\n" in self._kept.lstrip(b"\r\n"):
                raise NotHttp(repr(self._kept[:STATUS_LINE_BYTES_MAX]))
            return False
        status = int(match[1])
        if status == _SWITCHING:
            raise NotHttp("switches to another protocol")
        self._kept = self._kept[match.end() :]
        self._interim = status < 200
        if not self._interim:
            self.status = status
        return True

    def _skip_head(self) -> bool:
        """Drop the headers of an interim answer; False: their end is not here yet."""
        match = _END_OF_HEAD.search(self._kept)
        if match is None:
            self._kept = self._kept[-3:]
            return False
        self._kept = self._kept[match.end() :]
        self._interim = False
        return True

    def _read_head(self) -> None:
        match = _END_OF_HEAD.search(self._kept)
        if match is None:
            return
        self._head = False
        fields = _fields(self._kept[: match.start()])
        if asked := fields.get(b"retry-after"):
            self.retry_after = asked[0][:RETRY_AFTER_BYTES_MAX].decode("latin-1")
        lengths = set(fields.get(b"content-length", []))
        if len(lengths) == 1 and (length := lengths.pop()).isdigit() and len(length) < 16:
            self._length = int(length)
        self._chunked = b"chunked" in b",".join(fields.get(b"transfer-encoding", [])).lower()
        if self.status in (204, 304):
            self._length = 0
        body = self._kept[match.end() :]
        self._kept = b""
        self._read_body(body)

    def _read_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        self._kept = (self._kept + data)[-len(_LAST_CHUNK) :]
        if self._chunked:
            self.over = self._kept == _LAST_CHUNK
        elif self._length is not None:
            self.over = self._body_bytes >= self._length


def _fields(head: bytes) -> dict[bytes, list[bytes]]:
    """The headers by their names in lower case, as far as lines have a colon."""
    fields: dict[bytes, list[bytes]] = {}
    for line in head.splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    return fields
