"""Lists that come in pages: how many, and from where."""

from fairlane.errors import ValidationRefused


def read_limit(text: str | None, *, default: int, most: int) -> int:
    """How many a page may have.

    Raises:
        ValidationRefused: it is no number from 1 to ``most``.
    """
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 7 and 1 <= int(text) <= most):
        raise ValidationRefused.at("limit", f"must be an integer from 1 to {most}")
    return int(text)


def read_cursor(text: str | None, *, length: int) -> str | None:
    """From where a page goes on; None: from the start.

    Raises:
        ValidationRefused: no cursor looks like this.
    """
    if text is not None and not (len(text) == length and text.isascii() and text.isprintable()):
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return text
