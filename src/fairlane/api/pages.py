"""The query of a list: how many items, and where a page begins."""

from fairlane.errors import ValidationRefused
from fairlane.wire.schemas import TEXT, JsonSchema

ID_LENGTH = 36
"""Length of every id, also as a cursor."""
ID: JsonSchema = {**TEXT, "format": "uuid"}


def page_query(*, usual: int, most: int, cursor: JsonSchema = ID) -> dict[str, JsonSchema]:
    """Return the description of the query of a list with pages of up to ``most`` items."""
    return {"cursor": cursor, "limit": {"type": "integer", "minimum": 1, "maximum": most, "default": usual}}


def read_number(field: str, text: str | None, *, usual: int, most: int) -> int:
    """Return the number in a query, or ``usual`` if there is none.

    Raises:
        ValidationRefused: it is not a number from 1 to ``most``.
    """
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise ValidationRefused.at(field, f"must be an integer from 1 to {most}")
    return int(text)


def read_cursor(text: str | None, *, length: int) -> str | None:
    """Return the cursor at which a page begins, or None for the first page.

    Raises:
        ValidationRefused: it does not have the format of a cursor.
    """
    if text is not None and not (len(text) == length and text.isascii() and text.isprintable()):
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return text
