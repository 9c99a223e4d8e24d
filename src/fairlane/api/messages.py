"""Reading the bodies of our own surfaces (worker, admin), whose senders are ours: msgspec does all of it."""

import re
from typing import TypeVar

import msgspec
from msgspec.json import Decoder

from fairlane.errors import ValidationRefused

_AT = re.compile(r"(?P<message>.*) - at `\$\.?(?P<field>[^`]*)`", re.DOTALL)

Message = TypeVar("Message")


def read_message(decoder: "Decoder[Message]", body: bytes) -> Message:
    """One message of the decoder's type.

    Raises:
        ValidationRefused: it is none; the field is named where it is known.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = _AT.fullmatch(str(error))
        field, message = ("body", str(error)) if found is None else (found["field"], found["message"])
        raise ValidationRefused.at(field or "body", message) from error


def check_between(field: str, value: float, least: int, most: int) -> None:
    """Refuse a number out of range.

    Raises:
        ValidationRefused: naming the field and the range.
    """
    if not least <= value <= most:
        raise ValidationRefused.at(field, f"must be from {least} to {most}")
