"""``/v1/alerts``: rules for which an organization is notified by webhook."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import ID_LENGTH
from fairlane.api.reader import read_json
from fairlane.api.routes import Route, Routes
from fairlane.api.serving import Serving
from fairlane.errors import BodyTooLarge, NotFound
from fairlane.model.alerts import AlertRule
from fairlane.model.keys import Caller
from fairlane.model.webhooks import Webhook
from fairlane.wire import schemas

BODY_BYTES_MOST = 16 * 1024
SEGMENTS = ("The alert's id.",)


class AlertEndpoints:
    """The endpoints of alerts."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._store = serving.store

    async def list(self, request: Request, caller: Caller) -> Answer:
        """Return all alerts; there are few."""
        return Answer(wire.alerts_body(await self._store.alerts.all(caller.organization_id)), headers=(NO_STORE,))

    async def create(self, request: Request, caller: Caller) -> Answer:
        """Create an alert."""
        self._serving.admit()
        rule = await self._rule(request)
        return Answer(wire.alert_body(await self._store.alerts.create(caller.organization_id, rule)))

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return one alert."""
        found = await self._store.alerts.find(caller.organization_id, _identity(request))
        return Answer(wire.alert_body(found), headers=(NO_STORE,))

    async def change(self, request: Request, caller: Caller) -> Answer:
        """Replace the rule of an alert."""
        self._serving.admit()
        identity, rule = _identity(request), await self._rule(request)
        return Answer(wire.alert_body(await self._store.alerts.change(caller.organization_id, identity, rule)))

    async def delete(self, request: Request, caller: Caller) -> Answer:
        """Delete an alert."""
        return Answer(wire.alert_body(await self._store.alerts.delete(caller.organization_id, _identity(request))))

    async def _rule(self, request: Request) -> AlertRule:
        asked = wire.read_alert(read_json(await request.body(BODY_BYTES_MOST)))
        host = self._serving.webhook_host(asked.url, "webhook.url")
        return AlertRule(
            kind=asked.kind, threshold=asked.threshold, for_ms=asked.for_ms, webhook=Webhook(asked.url, host)
        )

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/alerts",
            list,
            id="list_alerts",
            tag="alerts",
            summary="The organization's alerts",
            answer=wire.AlertsBody,
            examples=("alerts",),
        ),
        Route(
            "POST",
            "/v1/alerts",
            create,
            id="create_alert",
            tag="alerts",
            summary="Notify a webhook when a number stays above a threshold, and when it no longer does",
            body=schemas.ALERT,
            answer=wire.AlertBody,
            examples=("alert",),
            refusals=(BodyTooLarge,),
        ),
        Route(
            "GET",
            "/v1/alerts/{alertId}",
            read,
            id="read_alert",
            tag="alerts",
            summary="One alert",
            segments=SEGMENTS,
            answer=wire.AlertBody,
            examples=("alert", "alert_firing"),
            refusals=(NotFound,),
        ),
        Route(
            "PUT",
            "/v1/alerts/{alertId}",
            change,
            id="change_alert",
            tag="alerts",
            summary="Replace the rule of an alert",
            segments=SEGMENTS,
            body=schemas.ALERT,
            answer=wire.AlertBody,
            examples=("alert",),
            refusals=(NotFound, BodyTooLarge),
        ),
        Route(
            "DELETE",
            "/v1/alerts/{alertId}",
            delete,
            id="delete_alert",
            tag="alerts",
            summary="Delete an alert",
            segments=SEGMENTS,
            answer=wire.AlertBody,
            examples=("alert",),
            refusals=(NotFound,),
        ),
    )


def _identity(request: Request) -> str:
    [identity] = request.parameters
    if len(identity) != ID_LENGTH:
        raise NotFound.named("alert", identity)
    return identity
