"""The shape of each successful body, collected from all modules of the wire.

``/openapi.json`` uses them to describe answers; nothing is written or checked with them.
"""

from typing import Any, Literal

from msgspec import Struct

from fairlane.wire.alerts import SHAPES as ALERTS
from fairlane.wire.calls import SHAPES as CALLS
from fairlane.wire.capacity import SHAPES as CAPACITY
from fairlane.wire.credits import SHAPES as CREDITS
from fairlane.wire.insight import SHAPES as INSIGHT
from fairlane.wire.status import SHAPES as STATUS
from fairlane.wire.tasks import SHAPES as TASKS
from fairlane.wire.usage import SHAPES as USAGE
from fairlane.wire.webhooks import SHAPES as WEBHOOKS


class _Health(Struct):
    status: Literal["alive", "ready"]


SHAPES: dict[str, Any] = {
    **STATUS,
    **TASKS,
    **CALLS,
    **INSIGHT,
    **USAGE,
    **CAPACITY,
    **ALERTS,
    **WEBHOOKS,
    **CREDITS,
    "health": _Health,
}
"""The shape of each successful body, by the name that an operation uses for it in /openapi.json."""
