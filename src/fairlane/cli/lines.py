"""The input and the results of ``fairlane submit``: files of lines that are read and written one at a time.

Every line has a key that follows from its text and its place, so that a repeated command finds each task again.
"""

import codecs
import hashlib
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Self

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from fairlane.errors import CommandFailed

LINE_BYTES_MOST = 64 * 2**20
KEY_DIGITS = 32


class InputLine(Struct, frozen=True):
    """One payload of the input."""

    number: int
    """Line number, from 1, as in editors: empty lines count, too."""
    text: bytes
    end: int
    """Number of bytes of the input before the next line."""


class LineKeys:
    """The keys of one file's lines for one task type."""

    def __init__(self, task_type: str, run: str) -> None:
        self._start = hashlib.sha256(f"{task_type}\0{run}\0".encode())

    def key(self, line: InputLine) -> str:
        """Return the line's key: the same for the same text at the same place."""
        digest = self._start.copy()
        digest.update(b"%d\0%b" % (line.number, line.text))
        return f"line-{digest.hexdigest()[:KEY_DIGITS]}"


def read_lines(file: BinaryIO, name: str) -> Iterator[InputLine]:
    """Yield the non-empty lines, in order.

    Raises:
        CommandFailed: a line is longer than any payload may be.
    """
    number = end = 0
    while text := file.readline(LINE_BYTES_MOST):
        number += 1
        end += len(text)
        if number == 1:
            text = text.removeprefix(codecs.BOM_UTF8)
        if len(text) == LINE_BYTES_MOST:
            raise CommandFailed(
                f"{name}: line {number} has more than {LINE_BYTES_MOST} bytes: give one JSON object a line"
            )
        text = text.strip()
        if text:
            yield InputLine(number, text, end)


def fault_of(line: InputLine) -> str | None:
    """Return why a line is not a payload, or None if it is one."""
    try:
        document = msgspec.json.decode(line.text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"is not valid JSON: {error}"
    return None if isinstance(document, dict) else "is not a JSON object"


# Results -------------------------------------------------------------------------------------------------------------


class _Error(Struct):
    code: str
    message: str
    details: Any = UNSET


class _Result(Struct, rename="camel"):
    line: int
    key: str
    task_id: str | None
    status: str
    response: Raw | dict[str, Any] | UnsetType | None = UNSET
    error: _Error | UnsetType = UNSET


class _Known(Struct):
    line: Annotated[int, Meta(ge=1)]
    key: Annotated[str, Meta(pattern="^line-[0-9a-f]{32}$")]
    status: str


_HEAD = b'{"line":N,"key":"line-'
"""The beginning of every record; N stands for any number."""


class NotResults(CommandFailed):
    """The file for the results has other content, which would be lost."""

    exit_code: ClassVar[int] = 2


class Results:
    """A file with one line for each ended task. Lines of an earlier run stay, and their tasks are not asked for
    again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = array("Q")
        """The mark of the recorded key by line number, 0 if there is none. Eight bytes a line."""
        self.found = 0
        """Number of results of an earlier run."""

    def __enter__(self) -> Self:
        try:
            self._read_back()
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise CommandFailed(f"cannot use the results file {self._path}: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, line: InputLine, key: str) -> bool:
        """Return whether this line's result is already recorded."""
        return self._mark_of(line.number) == _mark(key, refused=False)

    def ended(self, line_number: int, key: str, task_id: str, status: str, response: dict[str, Any] | None) -> None:
        """Write how a task ended."""
        self._write(_Result(line_number, key, task_id, status, response=response))

    def refused(self, line_number: int, key: str, code: str, message: str, details: Any) -> None:
        """Write that a line was refused, unless an earlier run wrote that. Each run tries the line again."""
        if self._mark_of(line_number) != _mark(key, refused=True):
            self._write(_Result(line_number, key, None, "REFUSED", error=_Error(code, message, details or UNSET)))

    def _mark_of(self, line_number: int) -> int:
        return self._known[line_number] if line_number < len(self._known) else 0

    def _write(self, result: _Result) -> None:
        # One write for a whole line: a kill leaves at most one incomplete line, which the next run removes.
        self._file.write(msgspec.json.encode(result) + b"\n")

    def _read_back(self) -> None:
        whole = 0
        with self._path.open("ab+") as earlier:
            earlier.seek(0)
            for text in earlier:
                is_whole = text.endswith(b"\n")
                try:
                    self._remember(msgspec.json.decode(text, type=_Known))
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    if is_whole or not _is_torn(text):
                        raise NotResults(
                            f"{self._path} is no results file of this command; give another name"
                        ) from error
                    earlier.truncate(whole)
                    return
                if not is_whole:
                    earlier.write(b"\n")
                whole += len(text)

    def _remember(self, known: _Known) -> None:
        refused = known.status == "REFUSED"
        if known.line >= len(self._known):
            self._known.extend([0] * (known.line + 1 - len(self._known)))
        if not refused:
            self.found += self._known[known.line] & 1 == 0
        elif self._known[known.line] == _mark(known.key, refused=False):
            return  # A result is final.
        self._known[known.line] = _mark(known.key, refused=refused)


def _mark(key: str, *, refused: bool) -> int:
    """Return the first eight bytes of a key's digest, odd for a result and even for a refusal; never 0."""
    start = int(key.removeprefix("line-")[:16], 16)
    return start & ~1 or 2 if refused else start | 1


def _is_torn(text: bytes) -> bool:
    """Return whether a killed write may have left this text: it starts like a record, and is incomplete."""
    begun = re.sub(rb'^({"line":)\d+', rb"\1N", text)
    return _HEAD.startswith(begun[: len(_HEAD)]) and not _is_json(text)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
