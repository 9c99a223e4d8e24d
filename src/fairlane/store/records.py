"""Rows of an answer, made into the records that their query names. Called by the adapters alone."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from fairlane.store.statements import Rows


def records(found: Iterable[Sequence[Any]], into: type[Any] | None) -> Rows:
    """Return bare rows as records; as values if ``into`` is no record; as they are if it is None.

    A record that is not array-like, such as one of the model, gets each column by name, and its flags are booleans.
    """
    if into is None:
        return list(found)
    if not issubclass(into, Struct):
        return [row[0] for row in found]
    if into.__struct_config__.array_like:
        return [into(*row) for row in found]
    names = into.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), into, strict=False) for row in found]


def packed_records(text: str | bytes, into: type[Any] | None) -> Rows:
    """Return the records of a packed answer, which is one JSON array of rows."""
    if into is None or not issubclass(into, Struct):
        return records(msgspec.json.decode(text), into)
    return _decoder(list[into]).decode(text)  # type: ignore[no-any-return,valid-type]  # the type is a value here


def packed_record(text: bytes, into: type[Any] | None) -> Any:
    """Return the record of one row of a packed answer."""
    if into is None or not issubclass(into, Struct):
        return records([msgspec.json.decode(text)], into)[0]
    return _decoder(into).decode(text)


@cache
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)
