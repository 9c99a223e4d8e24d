"""The customers' surface: ``/v1``, its description, and the two health paths."""

from collections.abc import Sequence
from typing import Any

from fairlane.api.alerts import OPERATIONS as ALERTS
from fairlane.api.alerts import Alerts
from fairlane.api.callers import Callers
from fairlane.api.calls import Calls
from fairlane.api.capacity import OPERATIONS as CAPACITY
from fairlane.api.capacity import Capacities
from fairlane.api.credits import OPERATIONS as CREDITS
from fairlane.api.credits import Balance
from fairlane.api.deliveries import OPERATIONS as DELIVERIES
from fairlane.api.deliveries import Deliveries
from fairlane.api.health import OPERATIONS as HEALTH
from fairlane.api.health import anybody, health_resources
from fairlane.api.keys import KeyGuard
from fairlane.api.lists import OPERATIONS as LISTS
from fairlane.api.lists import Lists
from fairlane.api.openapi import OPERATIONS as DESCRIPTION
from fairlane.api.openapi import Description
from fairlane.api.operations import Operations
from fairlane.api.rates import RateGuard
from fairlane.api.routes import Part, Resource, Surface
from fairlane.api.serving import Serving
from fairlane.api.slots import OPERATIONS as SLOTS
from fairlane.api.slots import Slots
from fairlane.api.status import OPERATIONS as STATUS
from fairlane.api.status import Status
from fairlane.api.tasks import OPERATIONS as TASKS
from fairlane.api.tasks import Tasks
from fairlane.api.usage import OPERATIONS as USAGE
from fairlane.api.usage import Usages
from fairlane.api.waits import OPERATIONS as WAITS
from fairlane.api.waits import Waits
from fairlane.model.keys import Caller

OPERATIONS: Operations = {
    **STATUS,
    **TASKS,
    **WAITS,
    **SLOTS,
    **USAGE,
    **CAPACITY,
    **ALERTS,
    **DELIVERIES,
    **CREDITS,
    **LISTS,
    **HEALTH,
    **DESCRIPTION,
}
"""The descriptions of the routes below, except for the application's calls (``call_operations``)."""


def customer_part(serving: Serving, callers: Callers) -> Part[Caller]:
    """Return the customers' routes."""
    clock, guard, limit = serving.store.now, KeyGuard(serving.store), serving.settings.rate_limit
    tasks, status, deliveries = Tasks(serving), Status(serving.store), Deliveries(serving)
    balance, lists, alerts = Balance(serving.store), Lists(serving.lists), Alerts(serving)
    calls = Calls(serving, callers)
    customers = Part(
        "/v1",
        RateGuard(guard, limit=limit),
        [
            Resource("/v1/async/task", guard, {"POST": tasks.submit}, clock=clock),
            Resource("/v1/async/status", guard, {"GET": status.read}, clock=clock),
            Resource("/v1/async/task/batch", guard, {"POST": tasks.submit_batch}, clock=clock, yields=True),
            Resource("/v1/async/task/{}", guard, {"GET": tasks.find, "DELETE": tasks.cancel}, clock=clock),
            Resource("/v1/async/tasks", guard, {"GET": tasks.page}, clock=clock),
            Resource("/v1/async/task/{}/retry", guard, {"POST": tasks.retry}, clock=clock),
            Resource("/v1/async/task/{}/payload", guard, {"GET": tasks.payload}, clock=clock),
            Resource("/v1/async/queue", guard, {"DELETE": tasks.clear}, clock=clock),
            Resource("/v1/async/task/{}/wait", guard, {"GET": Waits(serving.store).read}, clock=clock),
            Resource("/v1/async/slots", guard, {"GET": Slots(serving.store).list}, clock=clock),
            Resource("/v1/async/usage", guard, {"GET": Usages(serving.store).read}, clock=clock),
            Resource("/v1/async/capacity", guard, {"GET": Capacities(serving.store).read}, clock=clock),
            Resource("/v1/alerts", guard, {"GET": alerts.list, "POST": alerts.create}, clock=clock),
            Resource(
                "/v1/alerts/{}",
                guard,
                {"GET": alerts.read, "PUT": alerts.change, "DELETE": alerts.delete},
                clock=clock,
            ),
            Resource("/v1/webhooks/deliveries", guard, {"GET": deliveries.list}, clock=clock),
            Resource("/v1/webhooks/deliveries/{}/redeliver", guard, {"POST": deliveries.redeliver}, clock=clock),
            Resource("/v1/webhooks/test", guard, {"POST": deliveries.test}, clock=clock),
            Resource("/v1/credits", guard, {"GET": balance.read}, clock=clock),
            Resource("/v1/countries", guard, {"GET": lists.countries}, clock=clock),
            Resource("/v1/states", guard, {"GET": lists.states}, clock=clock),
            *(
                Resource(task_type.path, guard, {"POST": calls.endpoint(task_type)}, clock=clock)
                for task_type in serving.task_types.values()
                if task_type.path is not None
            ),
        ],
    )
    for resource in customers.resources:  # Each endpoint has its own count, and so have unknown paths.
        resource.guard = RateGuard(guard, limit=limit)
    return customers


def customer_surface(
    serving: Serving, customers: Part[Caller], *further: Part[Any], unguarded: Sequence[Resource[None]] = ()
) -> Surface:
    """Return the application behind the customers' listener, with further parts that the operator serves there."""
    clock, description = serving.store.now, Description(OPERATIONS, serving.task_types)
    unguarded = [
        *unguarded,
        Resource("/openapi.json", anybody, {"GET": description.read}, clock=clock),
        *health_resources(serving),
    ]
    return Surface([customers, *further], unguarded, clock=clock)
