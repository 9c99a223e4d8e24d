"""A handler's return value as the JSON object to store, or the reason why it cannot be stored.

Called by the executors for results and for the details of failures. Never raises, and never logs a value.
"""

import contextlib
import dataclasses
import enum
import json
import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import msgspec

from fairlane.model.tasks import Failure
from fairlane.protocol import FailureBody, ReportBody, carried, carries
from fairlane.scanning import is_deeper

INTEGER_LEAST, INTEGER_MOST = -(2**63), 2**63 - 1

_LONG_NUMBER = b"0" * 19
_DIGITS_AS_0 = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
"""With it a number is found in megabytes ten times faster than by a pattern, and the worker's loop goes on sooner."""
_LEVELS_MOST = 500
"""Levels of nesting in a result. Every reader takes them: Python 3.11 stops below 1,000, newer versions later."""
_DEPTH_MOST = 1_000
"""Depth limit of the search for a value without a JSON form."""
_KEY_LENGTH_MOST = 100
"""Characters of one key that are shown in the place of a value."""
_REASON_LENGTH_MOST = 1_000
_TOO_DEEP = "it is nested too deep, or contains itself"


def encode_result(value: object, *, limit_bytes: int) -> bytes | Failure:
    """Return the JSON text of a handler's result: an object as it is, anything else as ``{"result": value}``.

    msgspec writes NaN as null, 1 as the key "1", a set as an array and integers of any size. Decoding the text and
    comparing finds the first three without a walk in Python; only a difference (or a long number) starts the walk that
    decides. A lone
    surrogate has no UTF-8 form and is written as an escape; such a text is ASCII throughout.
    """
    text = _text_of(value, "result", limit_bytes)
    if isinstance(text, str):
        return Failure(code="RESULT_NOT_SERIALIZABLE", message=f"The result cannot be written as JSON: {text}")
    if isinstance(text, int):
        return _too_large(text, limit_bytes)
    if not text.startswith(b"{"):
        text = b'{"result":%b}' % text
    size = len(memoryview(carried(text)))  # An exchange has room for one result in this form.
    return text if size <= limit_bytes else _too_large(size, limit_bytes)


def encode_details(value: object, *, limit_bytes: int) -> bytes | None:
    """Return the JSON text of a failure's details, or None if it is too large or not JSON that every reader accepts.

    The rules are those of results, except that a lone surrogate is refused: readers of messages do not accept it.
    """
    text = _text_of(value, "details", limit_bytes)
    return text if isinstance(text, bytes) and carries(text) else None


def storable(value: object) -> bool:
    """Return whether a value can be the details of a failure, regardless of its size."""
    return encode_details(value, limit_bytes=2**62) is not None


def _too_large(size: int, limit_bytes: int) -> Failure:
    return Failure(
        code="RESULT_TOO_LARGE",
        message=f"The result is larger than {limit_bytes} bytes",
        details={"limit": limit_bytes, "size": size},
    )


def _text_of(value: object, name: str, limit_bytes: int) -> bytes | str | int:
    """Return the JSON text as bytes, the reason why there is none as a str, or the size if it is beyond the limit."""
    try:
        text = _written(value)
        if len(text) > limit_bytes:  # First, because every later step takes time in proportion to the size.
            return len(text)
        reason = next(_faults(value, name), None) if _is_doubtful(value, text) else None
    except Exception as error:  # noqa: BLE001 - encoding runs code of the application's classes
        # The text of an exception may contain anything, so only its type is shown.
        text, reason = b"", _TOO_DEEP if isinstance(error, RecursionError) else f"writing it raised {_type(error)}"
        with contextlib.suppress(Exception):
            reason = next(_faults(value, name), reason)
    return text if reason is None else reason[:_REASON_LENGTH_MOST].encode(errors="replace").decode()


def _written(value: object) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=_as_builtin)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value, enc_hook=_as_builtin), separators=(",", ":")).encode()


def _as_builtin(value: Any) -> Any:
    """Convert what msgspec does not know: numbers and text of other types, and pydantic models."""
    match value:
        case str():
            return str.__str__(value)
        case Integral():
            return int(value)
        case Real():
            return float(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__pydantic_serializer__"):
        return value.__pydantic_serializer__.to_python(value, mode="json")
    raise NotImplementedError


def _is_doubtful(value: object, text: bytes) -> bool:
    if is_deeper(text, _LEVELS_MOST):
        raise RecursionError  # This result is refused here, not the report that would contain it.
    return not carries(text) or bool(msgspec.json.decode(text) != value) or _LONG_NUMBER in text.translate(_DIGITS_AS_0)


# The search for values without a JSON form ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _ValuePlace:
    """The place of a value, such as ``result["pages"][3]``. Written out only when needed."""

    step: str
    parent: "_ValuePlace | None" = None
    depth: int = 0

    def below(self, step: str) -> "_ValuePlace":
        return _ValuePlace(step, self, self.depth + 1)

    def __str__(self) -> str:
        steps, place = [], self
        while place.parent is not None:
            steps.append(place.step)
            place = place.parent
        return place.step + "".join(reversed(steps))


def _faults(root: object, name: str) -> Iterator[str]:
    """Yield values that JSON cannot hold or would change, with place and type. Iterative: values may be deep."""
    ahead: list[tuple[_ValuePlace, object]] = [(_ValuePlace(name), root)]
    while ahead:
        place, value = ahead.pop()
        if place.depth > _DEPTH_MOST:
            yield _TOO_DEEP
            return
        inner: list[tuple[_ValuePlace, object]] = []
        match value:
            case dict():
                for key, member in dict.items(value):
                    if isinstance(key, str):
                        inner.append((place.below(f"[{_quoted(key)}]"), member))
                    else:
                        yield f"{place} has a key that is {_kind(key)}, not a string"
            case list() | tuple():
                inner = [(place.below(f"[{index}]"), member) for index, member in enumerate([*value])]
            case set() | frozenset():
                # msgspec would write an array, in an order that differs from process to process.
                yield f"{place} is {_kind(value)}, not a list"
            case msgspec.Raw():
                yield f"{place} is raw text"
            case bool() | None | enum.Enum():
                pass
            case Integral():
                if not INTEGER_LEAST <= int(value) <= INTEGER_MOST:
                    yield f"{place} is an integer beyond 64 bits"
            case float():
                if not math.isfinite(value):
                    yield f"{place} is {float.__repr__(value)}"
            case _ if (fields := _fields(value)) is not None:
                inner = [(place.below(f"[{_quoted(field)}]"), getattr(value, field)) for field in fields]
            case _:
                yield from _leaf_faults(value, place, inner)
        ahead.extend(reversed(inner))


def _leaf_faults(value: object, place: _ValuePlace, inner: list[tuple[_ValuePlace, object]]) -> Iterator[str]:
    """Yield what is wrong with a value that is not a container or a number; add its plain form to ``inner`` if it has
    one.
    """
    try:
        plain = value if isinstance(value, str) else msgspec.to_builtins(value, enc_hook=_as_builtin)
    except Exception as error:  # noqa: BLE001 - code of the application's classes
        why = "" if isinstance(error, NotImplementedError | TypeError) else f", and writing it raised {_type(error)}"
        yield f"{place} is {_kind(value)}{why}"
    else:
        if isinstance(plain, dict | list | float):
            inner.append((place, plain))


def _fields(value: object) -> tuple[str, ...] | None:
    """Return the names of a record's fields, or None if it is not a record that msgspec can write."""
    kind = type(value)
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if hasattr(kind, "__pydantic_serializer__"):
        return None
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if hasattr(kind, "__attrs_attrs__"):
        return tuple(attribute.name for attribute in kind.__attrs_attrs__)
    return None


def _quoted(key: str) -> str:
    return json.dumps(str.__str__(key)[:_KEY_LENGTH_MOST], ensure_ascii=False)


def _type(value: object) -> str:
    return type(value).__name__


def _kind(value: object) -> str:
    """Return the type with its article: ``a set``, ``an Image``."""
    name = _type(value)
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


# Reports that the server refuses -------------------------------------------------------------------------------------


def bare(report: ReportBody, cause: str) -> ReportBody:
    """Reduce a report that cannot be written, or that the server refuses, to the failure of its attempt.

    A handler that completed is not run again: its result would be refused again.
    """
    if report.outcome != "completed":
        return ReportBody(lease=report.lease, outcome="failed", cause=cause, retry=report.retry)
    failure = FailureBody(code="RESULT_NOT_SERIALIZABLE", message="The result cannot be stored: the server refused it")
    return ReportBody(lease=report.lease, outcome="failed", cause=cause, failure=failure, retry=False)
