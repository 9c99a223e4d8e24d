"""The customers' surface: ``/v1``, its description, and the two health paths."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fairlane.api.alerts import AlertEndpoints
from fairlane.api.attempts import AttemptEndpoints
from fairlane.api.bulks import BulkEndpoints
from fairlane.api.callers import Callers
from fairlane.api.calls import CallEndpoints, call_routes
from fairlane.api.capacity import CapacityEndpoints
from fairlane.api.credits import CreditEndpoints
from fairlane.api.deliveries import DeliveryEndpoints
from fairlane.api.failures import FailureEndpoints
from fairlane.api.health import HealthEndpoints, health_resources
from fairlane.api.keys import KeyGuard
from fairlane.api.lists import ListEndpoints
from fairlane.api.openapi import DescriptionEndpoint
from fairlane.api.rates import RateGuard
from fairlane.api.routes import Endpoints, Part, Resource, Routes, Surface, anybody, resources
from fairlane.api.serving import Serving
from fairlane.api.slots import SlotEndpoints
from fairlane.api.status import StatusEndpoints
from fairlane.api.tasks import TaskEndpoints
from fairlane.api.usage import UsageEndpoints
from fairlane.api.waits import WaitEndpoints
from fairlane.handlers import ServedType
from fairlane.model.keys import Caller

LISTED = (
    StatusEndpoints,
    TaskEndpoints,
    BulkEndpoints,
    WaitEndpoints,
    AttemptEndpoints,
    SlotEndpoints,
    UsageEndpoints,
    FailureEndpoints,
    CapacityEndpoints,
    AlertEndpoints,
    DeliveryEndpoints,
    CreditEndpoints,
    ListEndpoints,
    HealthEndpoints,
    DescriptionEndpoint,
)
"""The classes of endpoints in the order of their descriptions; the application's calls follow."""
UNKNOWN = "unknown"
"""The name under which requests to unknown paths are counted."""


def customer_routes(task_types: Mapping[str, ServedType]) -> Routes:
    """Return everything that customers can call, for ``/openapi.json``."""
    return (*(route for kind in LISTED for route in kind.routes), *call_routes(task_types))


def customer_part(serving: Serving, callers: Callers) -> Part[Caller]:
    """Return the customers' routes. Each endpoint counts requests on its own, and so do unknown paths."""
    store = serving.store
    guard = partial(RateGuard, KeyGuard(store), limit=serving.settings.rate_limit, shared=serving.rates)
    served: list[Endpoints] = [
        StatusEndpoints(store),
        TaskEndpoints(serving),
        BulkEndpoints(serving),
        WaitEndpoints(store),
        AttemptEndpoints(store),
        SlotEndpoints(store),
        UsageEndpoints(store),
        FailureEndpoints(store),
        CapacityEndpoints(store),
        AlertEndpoints(serving),
        DeliveryEndpoints(serving),
        CreditEndpoints(store),
        ListEndpoints(serving.lists),
        CallEndpoints(serving, callers),
    ]
    return Part("/v1", guard(UNKNOWN), resources(served, guard))


def customer_surface(
    serving: Serving, customers: Part[Caller], *further: Part[Any], unguarded: Sequence[Resource[None]] = ()
) -> Surface:
    """Return the application behind the customers' listener, with further parts that the operator serves there."""
    description = DescriptionEndpoint(customer_routes(serving.task_types), serving.task_types)
    unguarded = [*unguarded, *resources([description], lambda path: anybody), *health_resources(serving)]
    return Surface([customers, *further], unguarded, clock=serving.store.now)
