"""What a handler returned, as the JSON object that is kept; or why it cannot be."""

import json
import logging
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from fairlane.model.tasks import Failure
from fairlane.protocol import carried, carries

logger = logging.getLogger("fairlane.worker")

INTEGER_LEAST, INTEGER_MOST = -(2**63), 2**63 - 1

_LONG_NUMBER = re.compile(rb"\d{19}")
_DEPTH_MARGIN = 300
"""Levels of nesting kept free for whoever reads the result inside a larger body."""


def encode_result(value: object, *, limit_bytes: int) -> bytes | Failure:
    """The JSON text of a handler's result: an object as it is, anything else as ``{"result": value}``.

    msgspec writes NaN as null, 1 as the key "1" and integers of any size. Reading the text again and comparing finds
    the first two without a walk in Python; only a difference (or a long number) leads to the walk that decides.

    Half a surrogate pair, which UTF-8 has no form for, is written as an escape; such a text is ASCII altogether.
    """
    try:
        text, refused = _written(value)
    except Exception as error:  # noqa: BLE001 - encoding runs code of the application's own classes
        # The text of an exception may say anything; the organization learns only that there was one.
        logger.warning("result.refused", extra={"cause": f"{type(error).__name__}: {error}"[:500]})
        return _not_serializable("it holds a value that JSON has no form for")
    if refused is not None:
        return _not_serializable(refused)
    if not text.startswith(b"{"):
        text = b'{"result":%b}' % text
    size = len(memoryview(carried(text)))  # An exchange has room for one result as it travels.
    if size > limit_bytes:
        return Failure(
            code="RESULT_TOO_LARGE",
            message=f"The result is larger than {limit_bytes} bytes",
            details={"limit": limit_bytes, "size": size},
        )
    return text


def storable(value: object) -> bool:
    """Whether a value is JSON that every reader takes: as for results, and without half a surrogate pair."""
    text = encode_result(value, limit_bytes=2**62)
    return not isinstance(text, Failure) and carries(text)


def _written(value: object) -> tuple[bytes, str | None]:
    """The text, and why it is not to be kept."""
    try:
        text = msgspec.json.encode(value, enc_hook=_as_builtin)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, enc_hook=_as_builtin)
        escaped = json.dumps(plain, separators=(",", ":"))
        json.loads("[" * _DEPTH_MARGIN + escaped + "]" * _DEPTH_MARGIN)
        return escaped.encode(), next(_offences(plain), None)
    return text, next(_offences(value), None) if _is_doubtful(value, text) else None


def _not_serializable(reason: str) -> Failure:
    message = f"The result cannot be written as JSON: {reason}"
    return Failure(code="RESULT_NOT_SERIALIZABLE", message=message[:1000].encode(errors="replace").decode())


def _as_builtin(value: Any) -> Any:
    """What msgspec does not know: pydantic models write themselves."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__pydantic_serializer__"):
        return value.__pydantic_serializer__.to_python(value, mode="json")
    raise NotImplementedError(f"objects of type {type(value).__qualname__} are not supported")


def _is_doubtful(value: object, text: bytes) -> bool:
    if text.count(b"[") + text.count(b"{") > _DEPTH_MARGIN:
        # May raise RecursionError, which refuses the result here, alone, instead of the report it would travel in.
        msgspec.json.decode(b"[" * _DEPTH_MARGIN + text + b"]" * _DEPTH_MARGIN)
    return bool(msgspec.json.decode(text) != value) or _LONG_NUMBER.search(text) is not None


def _offences(value: object) -> Iterator[str]:
    """What JSON would change silently, with its place. Iterative: a result may be deep."""
    ahead = [("result", msgspec.to_builtins(value, enc_hook=_as_builtin))]
    while ahead:
        place, current = ahead.pop()
        if isinstance(current, dict):
            for key, member in current.items():
                if not isinstance(key, str):
                    yield f"{place} has a key that is not a string"
                ahead.append((f"{place}.{key}", member))
        elif isinstance(current, list | tuple | set | frozenset):
            ahead.extend((f"{place}.{index}", member) for index, member in enumerate(current))
        elif isinstance(current, float) and not math.isfinite(current):
            yield f"{place} is {current}"
        elif isinstance(current, int) and not INTEGER_LEAST <= current <= INTEGER_MOST:
            yield f"{place} is an integer beyond 64 bits"
        elif isinstance(current, msgspec.Raw):
            yield f"{place} is raw text"
