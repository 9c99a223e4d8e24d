"""Reads request bodies of the operator's and the workers' surfaces as records.

Operators write by hand, so their bodies pass the strict reader first, like customers' bodies. Workers are our own
program, and every finished task arrives this way, so their bodies are read only once.
"""

import re
from typing import TypeVar

import msgspec
from msgspec.json import Decoder

from fairlane.api.reader import read_json
from fairlane.errors import ValidationRefused

_AT = re.compile(r"(?P<message>.*) - at `\$\.?(?P<field>[^`]*)`", re.DOTALL)
_FIELD = re.compile(r"Object (?P<wrong>missing required|contains unknown) field `(?P<field>[^`]*)`")

Message = TypeVar("Message")


def read_message(decoder: "Decoder[Message]", body: bytes) -> Message:
    """Read one message of the decoder's type, strictly.

    Raises:
        ValidationRefused: the body is not such a message; the field is named if it is known.
    """
    read_json(body)
    return read_workers_message(decoder, body)


def read_workers_message(decoder: "Decoder[Message]", body: bytes) -> Message:
    """Read one message of the decoder's type from our own program.

    Raises:
        ValidationRefused: the body is not such a message; the field is named if it is known.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = _AT.fullmatch(str(error))
        path, message = ("", str(error)) if found is None else (found["field"], found["message"])
        named = _FIELD.fullmatch(message)
        if named is not None:
            path = f"{path}.{named['field']}" if path else named["field"]
            message = "is required" if named["wrong"] == "missing required" else "is not a known field"
        raise ValidationRefused.at(path or "body", message) from error


def check_between(field: str, value: float, least: int, most: int) -> None:
    """Refuse a number out of range.

    Raises:
        ValidationRefused: names the field and the range.
    """
    if not least <= value <= most:
        raise ValidationRefused.at(field, f"must be from {least} to {most}")
