"""``GET /v1/credits``: what an organization may still spend."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.model.keys import Caller
from fairlane.rules.history import next_month_at
from fairlane.store import Store


class CreditEndpoints:
    """The endpoint of the organization's balance."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return one snapshot of it."""
        credits = await self._store.credits.find(caller.organization_id)
        return Answer(wire.credits_body(credits, resets_at=next_month_at(self._store.now())), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/credits",
            read,
            id="read_credits",
            tag="status",
            summary="The organization's credits, now",
            description="Exact: it includes the cost of every task that was answered as COMPLETED, but not the cost of "
            "running tasks. If credits are switched off for the organization, `remaining` is "
            f"{wire.CREDITS_UNCOUNTED}.",
            answer=wire.CreditsBody,
            examples=("credits", "credits_uncounted"),
        ),
    )
