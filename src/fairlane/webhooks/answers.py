"""The answer to a webhook, as far as it matters: the status line decides, and the beginning of the body is kept.

The poster feeds it the bytes of one connection. Does no I/O. A receiver with broken headers has still received the
message, so nothing after the status line can make an answer invalid.
"""

import re
from codecs import getincrementaldecoder

STATUS_LINE_BYTES_MAX = 64
"""After this many bytes without a status, the answer is not HTTP."""
BEGINNING_BYTES_MAX = 256
"""How much of an answer's body is kept, for the customer to see."""
FRAME_BYTES_MAX = 256
"""How much is kept of the line before a chunk while its end has not arrived."""
RETRY_AFTER_BYTES_MAX = 64
"""Longest value of ``Retry-After``; a moment or a number of seconds is shorter."""

_STATUS = re.compile(rb"[\r\n]*HTTP/[0-9](?:\.[0-9])?[ \t]+([1-9][0-9]{2})(?=[ \t\r\n])")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CHUNK_FRAME = re.compile(rb"(?:\r\n)?([0-9a-fA-F]{1,8})[^\r\n]*\r\n")
"""The end of the chunk before, and the line with the size of the next."""
_LAST_CHUNK = b"0\r\n\r\n"
_SWITCHING = 101


class NotHttp(Exception):
    """The received bytes are not an HTTP answer."""


class AnswerReader:
    """One answer: skips interim answers, keeps the status, and recognizes the end of the body where possible."""

    def __init__(self) -> None:
        self.status: int | None = None
        """The status of the final answer, or None until it is known."""
        self.retry_after: str | None = None
        """The value of ``Retry-After`` in the final answer, if its headers were read completely."""
        self.over = False
        """Whether the answer is complete according to its headers."""
        self.kept = b""
        """The received bytes that are still needed."""
        self._interim = False
        self._head = True
        self._length: int | None = None
        self._chunked = False
        self._body_bytes = 0
        self._first = b""
        """The first bytes of the body, without the framing of chunks."""
        self._chunks = _Chunks()
        self._plain = True
        """Whether the body is not compressed."""

    def beginning(self) -> str | None:
        """Return how the body begins as text, or None if it is empty, compressed or not UTF-8."""
        try:
            # The last character may be cut off, so the end may be incomplete; the rest may not.
            text = getincrementaldecoder("utf-8")().decode(self._first) if self._plain else ""
        except UnicodeDecodeError:
            return None
        return "".join(one if one.isprintable() or one in "\t\n" else " " for one in text).strip() or None

    def receive(self, data: bytes) -> None:
        """Process the next bytes.

        Raises:
            NotHttp: they do not begin with a status line of HTTP/1, or they switch to another protocol.
        """
        if not self._head:
            self._read_body(data)
            return
        self.kept += data
        while self.status is None:
            if self._interim and not self._skip_head():
                return
            if not self._read_status():
                return
        self._read_head()

    def _read_status(self) -> bool:
        """Read a status line, and return False if more bytes are needed."""
        match = _STATUS.match(self.kept)
        if match is None:
            if len(self.kept) > STATUS_LINE_BYTES_MAX or b"\n" in self.kept.lstrip(b"\r\n"):
                raise NotHttp(repr(self.kept[:STATUS_LINE_BYTES_MAX]))
            return False
        status = int(match[1])
        if status == _SWITCHING:
            raise NotHttp("switches to another protocol")
        self.kept = self.kept[match.end() :]
        self._interim = status < 200
        if not self._interim:
            self.status = status
        return True

    def _skip_head(self) -> bool:
        """Drop the headers of an interim answer, and return False if their end has not arrived yet."""
        match = _END_OF_HEAD.search(self.kept)
        if match is None:
            self.kept = self.kept[-3:]
            return False
        self.kept = self.kept[match.end() :]
        self._interim = False
        return True

    def _read_head(self) -> None:
        match = _END_OF_HEAD.search(self.kept)
        if match is None:
            return
        self._head = False
        fields = _fields(self.kept[: match.start()])
        if asked := fields.get(b"retry-after"):
            self.retry_after = asked[0][:RETRY_AFTER_BYTES_MAX].decode("latin-1")
        lengths = set(fields.get(b"content-length", []))
        if len(lengths) == 1 and (length := lengths.pop()).isdigit() and len(length) < 16:
            self._length = int(length)
        self._plain = set(fields.get(b"content-encoding", [])) <= {b"", b"identity"}
        self._chunked = b"chunked" in b",".join(fields.get(b"transfer-encoding", [])).lower()
        if self.status in (204, 304):
            self._length = 0
        body = self.kept[match.end() :]
        self.kept = b""
        self._read_body(body)

    def _read_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        most = BEGINNING_BYTES_MAX - len(self._first)
        self._first += self._chunks.read(data, most) if self._chunked else data[:most]
        self.kept = (self.kept + data)[-len(_LAST_CHUNK) :]
        if self._chunked:
            self.over = self.kept == _LAST_CHUNK
        elif self._length is not None:
            self.over = self._body_bytes >= self._length


class _Chunks:
    """Takes the framing of chunks out of a body. What follows a broken frame or the last chunk is left out."""

    def __init__(self) -> None:
        self._kept = b""
        """The beginning of a frame that is not complete."""
        self._left = 0
        """How much of the current chunk has not arrived."""
        self._over = False

    def read(self, data: bytes, most: int) -> bytes:
        """Return the next bytes of the content, at most ``most``. What comes after them is lost."""
        content, data = b"", self._kept + data
        while not self._over and len(content) < most:
            if self._left == 0:
                match = _CHUNK_FRAME.match(data)
                if match is None:
                    self._over = len(data) > FRAME_BYTES_MAX
                    break
                data, self._left = data[match.end() :], int(match[1], 16)
                self._over = self._left == 0
            part, data = data[: self._left], data[self._left :]
            content += part
            self._left -= len(part)
            if self._left:
                break
        self._kept = b"" if self._over or len(content) >= most else data
        return content[:most]


def _fields(head: bytes) -> dict[bytes, list[bytes]]:
    """Return the headers by lower-case name; lines without a colon are skipped."""
    fields: dict[bytes, list[bytes]] = {}
    for line in head.splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    return fields
