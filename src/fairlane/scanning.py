"""Scan JSON texts as large as a peer sends them without parsing, in bounded steps.

Called by the strict reader, by the wire's batches and by the worker protocol before a parser sees the text. During one
C call nothing else in the process runs, so each call here sees a bounded part of the text.
"""

import re
from collections.abc import Iterator
from itertools import accumulate

import msgspec

PIECE_BYTES = 64 * 1024
FIRST_BYTES = 512
"""Size of the first piece of an array or object: most are small."""
COUNTED_BYTES = 1024 * 1024
"""Larger pieces for counting one byte, which is fast."""
BLANKS = b" \t\r\n"

# Possessive quantifiers never backtrack, so a broken string costs no more than a complete one.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WHOLE = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_WITHIN = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_QUOTE = ord('"')

# One step of cutting: up to 2 KiB of a string inline; a longer string is skipped by itself.
_SHORT = rb'"(?:[^"\\]{1,64}+|\\.){0,32}+"'
_TO_BRACKET = re.compile(rb'(?:[^][{}"]{1,64}+|%b){0,1000}+([][{}"]?+)' % _SHORT, re.DOTALL)
_TO_COMMA = re.compile(rb'(?:[^][{}",]{1,64}+|%b){0,1000}+([][{},"]?+)' % _SHORT, re.DOTALL)

_ESCAPED = re.compile(rb'(?:[^"\\]{1,64}+|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\[^u]){0,1000}+', re.DOTALL)

_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_SIGNS = bytes.maketrans(_BRACKETS, b"\x01\xff\x01\xff")
"""A bracket as a signed byte: 1 opens, -1 closes."""


def outside(text: bytes) -> Iterator[bytes]:
    """Yield the text in pieces, without blanks, and with a 0 in place of each string.

    A string that does not end is skipped to the end of the text.
    """
    at, size, inside = 0, len(text), False
    while at < size:
        end = min(at + PIECE_BYTES, size)
        if inside:
            at = _end(_WITHIN, text, at, end)
            if at < end and text[at] == _QUOTE:
                at, inside = at + 1, False
            elif end == size:
                return
            continue
        stop = _end(_WHOLE, text, at, end)
        yield _STRING.sub(b"0", text[at:stop]).translate(None, BLANKS)
        at = stop
        if stop < end:
            at, inside = stop + 1, True
            yield b"0"


def have_more_values(text: bytes, most: int) -> bool:
    """Return whether a JSON text has more than ``most`` values, without parsing it."""
    # Every value but the first follows one of these; inside strings they only make the estimate larger.
    if 1 + _count(text, b",[{") <= most:
        return False
    values, last = 1, b""
    for piece in outside(text):
        values += _count(piece, b",[{") - piece.count(b"[]") - piece.count(b"{}")
        values -= last + piece[:1] in (b"[]", b"{}")
        last = piece[-1:] or last
        if values > most + 1:  # the next piece may begin with the end of an empty array
            return True
    return values > most


def is_deeper(text: bytes, most: int) -> bool:
    """Return whether arrays and objects are nested deeper than ``most``. The parser checks that brackets match."""
    if _count(text, b"[{") <= most:
        return False
    depth = 0
    for piece in outside(text):
        brackets = piece.translate(_SIGNS, _NO_BRACKETS)
        levels = list(accumulate(memoryview(brackets).cast("b"), initial=depth))
        if max(levels) > most:
            return True
        depth = levels[-1]
    return False


def items(text: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each value of an array, including blanks. ``start`` is behind the opening bracket.

    Only strings and brackets are examined: a parser would refuse the whole array for an error within one value.

    Raises:
        ValueError: the array does not end, or something follows it.
    """
    at, depth = start, 1
    while depth:
        passed = (_TO_COMMA if depth == 1 else _TO_BRACKET).match(text, at)
        if passed is None or passed.end() == at:
            raise ValueError("the array does not end")
        at, mark = passed.end(), passed[1]
        if mark == b'"':
            at = _end_of_string(text, at)
        elif mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        if not depth or (depth == 1 and mark == b","):
            yield start, at - 1
            start = at
    if at != len(text) or not text.endswith(b"]"):
        raise ValueError("the array ends with another bracket, or something follows it")


def containers(text: bytes, level: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each array or object at this nesting level; 1 is the outermost.

    Raises:
        ValueError: a string does not end.
    """
    at = depth = start = 0
    while at < len(text):
        passed = _TO_BRACKET.match(text, at)
        if passed is None or passed.end() == at:
            return
        at, mark = passed.end(), passed[1]
        if mark == b'"':
            at = _end_of_string(text, at)
        elif mark in (b"[", b"{"):
            depth += 1
            if depth == level:
                start = at - 1
                at, depth = _passed(text, at, depth)
        elif mark in (b"]", b"}"):
            if depth == level:
                yield start, at
            depth -= 1


def unescaped(text: bytes) -> bytes:
    """Decode a JSON string to UTF-8.

    Raises:
        ValueError: the text is not a JSON string.
    """
    parts, at, end = [], 1, len(text) - 1
    if end < 1 or text[:1] != b'"' or text[end:] != b'"':
        raise ValueError("not a string")
    while at < end:
        stop = _end(_ESCAPED, text, at, end)
        while stop < end and text[stop] & 0xC0 == 0x80:  # Inside a multi-byte character.
            stop += 1
        if stop == at:
            raise ValueError("not a string")
        parts.append(msgspec.json.decode(b'"%b"' % text[at:stop], type=str).encode())
        at = stop
    return b"".join(parts)


def string_of(text: str) -> bytes:
    """Return a text as a JSON string."""
    pieces = (text[at : at + PIECE_BYTES] for at in range(0, len(text), PIECE_BYTES))
    return b'"%b"' % b"".join([msgspec.json.encode(piece)[1:-1] for piece in pieces])


def trimmed(text: bytes, start: int, end: int, most: int) -> bytes | None:
    """Return this part of a text without blanks around it, or None if it has more than ``most`` bytes."""
    while start < end:
        piece = text[start : min(start + PIECE_BYTES, end)]
        kept = piece.lstrip(BLANKS)
        start += len(piece) - len(kept)
        if kept:
            break
    while start < end:
        piece = text[max(start, end - PIECE_BYTES) : end]
        kept = piece.rstrip(BLANKS)
        end -= len(piece) - len(kept)
        if kept:
            break
    return text[start:end] if end - start <= most else None


def _passed(text: bytes, at: int, depth: int) -> tuple[int, int]:
    """Skip pieces in which the depth does not fall below ``depth``; return the place and the depth reached."""
    least, size = depth, FIRST_BYTES
    while at < len(text):
        stop = _end(_WHOLE, text, at, min(at + size, len(text)))
        brackets = _STRING.sub(b"0", text[at:stop]).translate(_SIGNS, _NO_BRACKETS)
        levels = list(accumulate(memoryview(brackets).cast("b"), initial=depth))
        if min(levels) < least:
            break
        if stop < min(at + size, len(text)):
            stop = _end_of_string(text, stop + 1)
        at, depth, size = stop, levels[-1], min(2 * size, PIECE_BYTES)
    return at, depth


def _count(text: bytes, marks: bytes) -> int:
    if len(text) <= COUNTED_BYTES:
        return sum([text.count(mark) for mark in marks])
    return sum(_count(text[at : at + COUNTED_BYTES], marks) for at in range(0, len(text), COUNTED_BYTES))


def _end_of_string(text: bytes, at: int) -> int:
    """Return the position behind the closing quote of the string that contains ``at``."""
    while at < len(text):
        passed = _end(_WITHIN, text, at, min(at + PIECE_BYTES, len(text)))
        if text[passed : passed + 1] == b'"':
            return passed + 1
        if passed == at:
            break
        at = passed
    raise ValueError("a string does not end")


def _end(pattern: re.Pattern[bytes], text: bytes, at: int, end: int) -> int:
    passed = pattern.match(text, at, end)
    assert passed is not None, "the pattern matches nothing, too"
    return passed.end()
