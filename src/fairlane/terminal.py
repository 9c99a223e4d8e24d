"""Terminals: whether a stream can be drawn on again and again. Used by ``cli`` and ``demo``; knows no other room."""

import os
from typing import TextIO


def redraws(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that moves its cursor: bars and live tables print nothing on others."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
