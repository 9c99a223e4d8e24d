"""The address of a webhook, as a customer sends it.

Called by the API's endpoints; submissions and alerts also have their addresses checked here.
"""

from typing import Any

from fairlane.errors import ValidationRefused
from fairlane.wire.errors import FIELD_ERRORS_MOST


def read_address(document: Any) -> str:
    """Return the URL in ``{"url": …}``; only its type is checked.

    Raises:
        ValidationRefused: lists every field that is wrong.
    """
    wrong = wrong_address(document, "")
    if wrong:
        raise ValidationRefused(details=[{"field": field, "message": message} for field, message in wrong])
    url: str = document["url"]
    return url


def wrong_address(document: Any, path: str) -> list[tuple[str, str]]:
    """Return what is wrong with ``{"url": …}`` at this path; an empty path means the body itself."""
    if type(document) is not dict:
        return [(path or "body", "must be an object with a url" if path else "must be a JSON object")]
    prefix = f"{path}." if path else ""
    wrong = [(f"{prefix}{field}", "is not a known field") for field in document if field != "url"]
    if "url" not in document:
        wrong.append((f"{prefix}url", "is required"))
    elif type(document["url"]) is not str:
        wrong.append((f"{prefix}url", "must be a string"))
    return wrong[:FIELD_ERRORS_MOST]
