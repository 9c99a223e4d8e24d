"""``/livez`` and ``/readyz``: whether the process answers, and whether it can take work."""

import asyncio
from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Resource, Route, Routes, anybody, resources
from fairlane.api.serving import Serving
from fairlane.errors import Unavailable

READY_SECONDS = 1.0


def health_resources(serving: Serving) -> list[Resource[None]]:
    """Return the health routes. They need no key; they answer yes or no, and which part of the application keeps its
    workers from starting.
    """
    return resources([HealthEndpoints(serving)], lambda path: anybody)


class HealthEndpoints:
    """Alive means that the event loop runs; ready, that a submit would be accepted and local workers can start."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def alive(self, request: Request, who: None) -> Answer:
        """Answer without the store: a broken database is no reason to restart the process."""
        return Answer(b'{"status":"alive"}', headers=(NO_STORE,))

    async def ready(self, request: Request, who: None) -> Answer:
        """Answer after a read of the store, within a second."""
        self._serving.admit()
        if trouble := self._serving.worker_trouble():
            raise Unavailable(f"No worker can start: {trouble}")
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._serving.store.upkeep.ping()
        except TimeoutError as error:
            raise Unavailable() from error
        return Answer(b'{"status":"ready"}', headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/livez",
            alive,
            id="is_alive",
            tag="health",
            summary="Whether the server's process answers",
            answer=wire.HealthBody,
            open=True,
        ),
        Route(
            "GET",
            "/readyz",
            ready,
            id="is_ready",
            tag="health",
            summary="Whether a submit would be accepted, and one of the server's own workers could run it",
            answer=wire.HealthBody,
            open=True,
        ),
    )
