"""The body of the health routes, which are answered without the wire."""

from typing import Literal

from msgspec import Struct


class HealthBody(Struct):
    """What ``/livez`` and ``/readyz`` answer with 200."""

    status: Literal["alive", "ready"]
