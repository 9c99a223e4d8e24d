"""The customers' surface: ``/v1``, its description, and the two health paths."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fairlane.api.alerts import Alerts
from fairlane.api.callers import Callers
from fairlane.api.calls import Calls, call_routes
from fairlane.api.capacity import Capacities
from fairlane.api.credits import Balance
from fairlane.api.deliveries import Deliveries
from fairlane.api.health import Health, health_resources
from fairlane.api.keys import KeyGuard
from fairlane.api.lists import Lists
from fairlane.api.openapi import Description
from fairlane.api.rates import RateGuard
from fairlane.api.routes import Endpoints, Part, Resource, Routes, Surface, anybody, resources
from fairlane.api.serving import Serving
from fairlane.api.slots import Slots
from fairlane.api.status import Status
from fairlane.api.tasks import Tasks
from fairlane.api.usage import Usages
from fairlane.api.waits import Waits
from fairlane.handlers import TaskType
from fairlane.model.keys import Caller

LISTED = (Status, Tasks, Waits, Slots, Usages, Capacities, Alerts, Deliveries, Balance, Lists, Health, Description)
"""The classes of endpoints in the order of their descriptions; the application's calls follow."""


def customer_routes(task_types: Mapping[str, TaskType]) -> Routes:
    """Return everything that customers can call, for ``/openapi.json``."""
    return (*(route for kind in LISTED for route in kind.routes), *call_routes(task_types))


def customer_part(serving: Serving, callers: Callers) -> Part[Caller]:
    """Return the customers' routes. Each endpoint counts requests on its own, and so do unknown paths."""
    store = serving.store
    guard = partial(RateGuard, KeyGuard(store), limit=serving.settings.rate_limit)
    served: list[Endpoints] = [
        Status(store),
        Tasks(serving),
        Waits(store),
        Slots(store),
        Usages(store),
        Capacities(store),
        Alerts(serving),
        Deliveries(serving),
        Balance(store),
        Lists(serving.lists),
        Calls(serving, callers),
    ]
    return Part("/v1", guard(), resources(served, guard))


def customer_surface(
    serving: Serving, customers: Part[Caller], *further: Part[Any], unguarded: Sequence[Resource[None]] = ()
) -> Surface:
    """Return the application behind the customers' listener, with further parts that the operator serves there."""
    description = Description(customer_routes(serving.task_types), serving.task_types)
    unguarded = [*unguarded, *resources([description], lambda: anybody), *health_resources(serving)]
    return Surface([customers, *further], unguarded, clock=serving.store.now)
