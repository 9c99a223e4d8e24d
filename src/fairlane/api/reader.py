"""The strict reader: the only function that turns untrusted bytes into JSON values.

It uses the standard library's ``json`` with hooks, because the fast readers keep the last of two equal keys or turn
large integers into floats. Every JSON reader reads accepted bytes in the same way, so the bytes can be stored.
"""

import json
import re
from typing import Any, NoReturn

from fairlane.errors import ValidationRefused
from fairlane.scanning import have_more_values, is_deeper

DEPTH_MOST = 64
VALUES_MOST = 100_000
INTEGER_LEAST, INTEGER_MOST = -(2**63), 2**63 - 1
INTEGER_DIGITS_MOST = 20
"""Longer texts are out of range with any digits; Python itself refuses to convert thousands of digits."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_RISKY_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(body: bytes) -> Any:
    """Read one JSON text.

    Raises:
        ValidationRefused: it is not UTF-8 or not JSON, or readers differ about it: a repeated key, an integer beyond 64
            bits, NaN or Infinity, NUL or half a surrogate pair, more than 64 levels, more than 100,000 values.
    """
    if body.startswith(BYTE_ORDER_MARK):
        raise _refused("begins with a byte order mark: send UTF-8 without it")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _refused("must be UTF-8") from error
    # Before the parser, because it recurses and creates all objects in one call.
    if is_deeper(body, DEPTH_MOST):
        raise _refused(f"is nested deeper than {DEPTH_MOST} levels")
    if have_more_values(body, VALUES_MOST):
        raise _refused(f"has more than {VALUES_MOST} values")
    try:
        document = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _refused(f"is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    if _RISKY_ESCAPE.search(text):
        _check_strings(document)
    return document


def _refused(message: str) -> ValidationRefused:
    return ValidationRefused.at("body", message)


# In the parser -------------------------------------------------------------------------------------------------------


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _refused(f"has the key {_shown(twice)} twice in one object")
    return members


def _shown(key: str) -> str:
    """Return a key as it may appear in a message: short, and in plain ASCII."""
    return json.dumps(key if len(key) <= 64 else key[:64] + "…")


def _integer(digits: str) -> int:
    if len(digits) <= INTEGER_DIGITS_MOST:
        value = int(digits)
        if INTEGER_LEAST <= value <= INTEGER_MOST:
            return value
    raise _refused("has an integer beyond 64 bits")


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _refused("has a number too large for a 64-bit float")
    return value


def _constant(name: str) -> NoReturn:
    raise _refused(f"has {name}, which is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)


# After the parser ----------------------------------------------------------------------------------------------------


def _check_strings(document: Any) -> None:
    level = [document]
    while level:
        for value in level:
            for text in (value,) if type(value) is str else value if type(value) is dict else ():
                if "\x00" in text:
                    raise _refused("has a NUL character in a string")
                if _SURROGATE.search(text):
                    raise _refused("has half a surrogate pair in a string")
        level = [child for value in level for child in _children(value)]


def _children(value: Any) -> list[Any]:
    if type(value) is dict:
        return list(value.values())
    return value if type(value) is list else []
