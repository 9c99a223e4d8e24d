"""What queries ask for: how many, and from where a list goes on."""

from fairlane.errors import ValidationRefused

ID_LENGTH = 36
"""Of every id that is given out, also as a cursor."""


def read_number(field: str, text: str | None, *, usual: int, most: int) -> int:
    """How many, as asked for in a query; ``usual`` if not.

    Raises:
        ValidationRefused: it is no number from 1 to ``most``.
    """
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise ValidationRefused.at(field, f"must be an integer from 1 to {most}")
    return int(text)


def read_cursor(text: str | None, *, length: int) -> str | None:
    """From where a page goes on; None: from the start.

    Raises:
        ValidationRefused: no cursor looks like this.
    """
    if text is not None and not (len(text) == length and text.isascii() and text.isprintable()):
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return text
