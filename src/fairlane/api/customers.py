"""The customers' surface: ``/v1``, and the two health paths beside it."""

from starlette.types import ASGIApp

from fairlane.api.deliveries import Deliveries
from fairlane.api.health import health_resources
from fairlane.api.keys import KeyGuard
from fairlane.api.routes import Nowhere, Resource, surface
from fairlane.api.serving import Serving
from fairlane.api.status import Status
from fairlane.api.tasks import Tasks


def customer_surface(serving: Serving) -> ASGIApp:
    """The application behind the TCP listener."""
    clock, guard = serving.store.now, KeyGuard(serving.store)
    tasks, status, deliveries = Tasks(serving), Status(serving.store), Deliveries(serving)
    return surface(
        [
            Resource("/v1/async/task", guard, {"POST": tasks.submit}, clock=clock),
            Resource("/v1/async/status", guard, {"GET": status.read}, clock=clock),
            Resource("/v1/async/task/{}", guard, {"GET": tasks.find}, clock=clock),
            Resource("/v1/webhooks/deliveries", guard, {"GET": deliveries.list}, clock=clock),
            Resource("/v1/webhooks/deliveries/{}/redeliver", guard, {"POST": deliveries.redeliver}, clock=clock),
            Resource("/v1/webhooks/test", guard, {"POST": deliveries.test}, clock=clock),
            *health_resources(serving),
        ],
        Nowhere(prefix="/v1", guard=guard, clock=clock),
    )
