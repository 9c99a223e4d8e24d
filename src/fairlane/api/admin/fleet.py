"""``/metrics`` and ``/admin/v1/scaling``: the whole installation, for monitoring and autoscalers."""

import math
import time
from collections.abc import Callable
from typing import ClassVar

from msgspec.json import encode

from fairlane import __version__, metrics
from fairlane.api.admin.installation import ServerFacts
from fairlane.api.fresh import Fresh
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.model.fleet import Scaling
from fairlane.store import Store

FRESH_SECONDS = 2.0
"""How long one read of the store is shared by all requests, in seconds."""


class FleetEndpoints:
    """One read for all requests within two seconds."""

    def __init__(
        self,
        store: Store,
        facts: Callable[[], ServerFacts],
        *,
        steady_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._facts = facts
        self._fleet = Fresh(store.fleet.find, seconds=FRESH_SECONDS, steady_clock=steady_clock)

    async def metrics(self, request: Request, actor: str) -> Answer:
        """Return every number, for Prometheus."""
        text = metrics.render(
            await self._fleet.find(),
            version=__version__,
            audited=self._store.recount.audited,
            differences=self._store.recount.differences,
            workers_failing=self._facts().worker_trouble is not None,
        )
        return Answer(text, headers=(NO_STORE,), content_type=metrics.CONTENT_TYPE.encode())

    async def scaling(self, request: Request, actor: str) -> Answer:
        """Return the recommended number of workers, for autoscalers."""
        fleet = await self._fleet.find()
        busy = sum(load.processing + load.calls for load in fleet.loads.values())
        places = fleet.places / fleet.workers if fleet.workers else self._places_usual
        return Answer(
            encode(
                Scaling(
                    runnable=fleet.runnable,
                    calls_ready=fleet.calls_ready,
                    processing=busy,
                    workers=fleet.workers,
                    places_per_worker=places,
                    recommended_workers=math.ceil((fleet.runnable + busy) / places),
                )
            ),
            headers=(NO_STORE,),
        )

    _places_usual = 10.0
    """Places of a worker process by default."""

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/scaling", scaling),
        Route("GET", "/metrics", metrics),
    )
