"""``/v1/webhooks``: deliveries to an organization's webhooks, repeated ones, and test events."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import ID_LENGTH, page_query, read_cursor, read_number
from fairlane.api.reader import read_json
from fairlane.api.routes import Route, Routes
from fairlane.api.serving import Serving
from fairlane.errors import BodyTooLarge, NotFound
from fairlane.model.keys import Caller
from fairlane.model.webhooks import Webhook
from fairlane.store import new_id
from fairlane.wire import schemas

BODY_BYTES_MOST = 16 * 1024
PAGE_MOST = 100
PAGE_DEFAULT = 50
HOSTS_DEFAULT = 20
"""Also most hosts of one answer: what is owed to each is counted."""


class DeliveryEndpoints:
    """The endpoints of deliveries."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._store = serving.store

    async def list(self, request: Request, caller: Caller) -> Answer:
        """Return one page, newest first."""
        query = request.query(*wire.DELIVERY_FILTER_FIELDS, "cursor", "limit")
        page = await self._store.deliveries.page(
            caller.organization_id,
            chosen=wire.delivery_filter(query),
            cursor=read_cursor(query.get("cursor"), length=ID_LENGTH),
            most=read_number("limit", query.get("limit"), usual=PAGE_DEFAULT, most=PAGE_MOST),
            state=self._serving.sending(),
        )
        return Answer(wire.deliveries_body(page), headers=(NO_STORE,))

    async def hosts(self, request: Request, caller: Caller) -> Answer:
        """Return the caller's hosts with trouble first, or those with names that begin with a text."""
        query = request.query(*schemas.HOST_FILTER, "cursor", "limit")
        prefix, after = wire.read_host_page(query)
        page = await self._store.webhook_hosts.of_organization(
            caller.organization_id,
            prefix,
            self._serving.sending(),
            after=after,
            most=read_number("limit", query.get("limit"), usual=HOSTS_DEFAULT, most=HOSTS_DEFAULT),
        )
        return Answer(wire.webhook_hosts_body(page), headers=(NO_STORE,))

    async def redeliver(self, request: Request, caller: Caller) -> Answer:
        """Try a delivery once more, at once, whether or not it was delivered before."""
        self._serving.admit()
        [delivery_id] = request.parameters
        if len(delivery_id) != ID_LENGTH:
            raise NotFound.named("delivery", delivery_id)
        return Answer(wire.delivery_body(await self._store.deliveries.redeliver(caller.organization_id, delivery_id)))

    async def test(self, request: Request, caller: Caller) -> Answer:
        """Send a test event to a URL."""
        self._serving.admit()
        url = wire.read_address(read_json(await request.body(BODY_BYTES_MOST)))
        webhook = Webhook(url, self._serving.webhook_host(url, "url"))
        delivery_id = new_id()
        body = wire.test_event_body(delivery_id, at=self._store.now()).decode()
        made = await self._store.deliveries.create_test(
            caller.organization_id, webhook, delivery_id=delivery_id, body=body
        )
        return Answer(wire.delivery_body(made))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/webhooks/deliveries",
            list,
            id="list_deliveries",
            tag="webhooks",
            summary="The messages to the organization's webhooks, newest first",
            description="Every page costs the same: with a filter it may be short, or empty. Continue with "
            "`nextCursor` until it is null. `answer` is how the body of the receiver's answer begins, and `tookMs` "
            "how long that answer took; both are null if none came. `heldBy` is why a message that is due "
            "is not tried now, as the server that answers knows it.",
            query={**schemas.DELIVERY_FILTER, **page_query(usual=PAGE_DEFAULT, most=PAGE_MOST)},
            answer=wire.DeliveriesBody,
            examples=("deliveries", "deliveries_none"),
        ),
        Route(
            "GET",
            "/v1/webhooks/hosts",
            hosts,
            id="list_webhook_hosts",
            tag="webhooks",
            summary="The hosts of the organization's webhooks, and how their tries ended",
            description="`tries` and `failed` are counted since the beginning of yesterday (UTC), for each host, and "
            "at the top for all hosts. Hosts with overdue messages or failures come first, and one answer is all of "
            "it; with `hostPrefix`, which may be empty, hosts that were tried come in the order of their names, in "
            "pages. `open` are messages that are neither delivered nor given up, up to a "
            "hundred. `heldBy` is why the first of them is not tried now, as the server that answers knows it.",
            query={
                **schemas.HOST_FILTER,
                **page_query(usual=HOSTS_DEFAULT, most=HOSTS_DEFAULT, cursor=schemas.TEXT),
            },
            answer=wire.WebhookHostsBody,
            examples=("hosts_of_webhooks", "hosts_of_webhooks_by_name", "hosts_of_webhooks_none"),
        ),
        Route(
            "POST",
            "/v1/webhooks/deliveries/{deliveryId}/redeliver",
            redeliver,
            id="redeliver",
            tag="webhooks",
            summary="Try a delivery once more, at once",
            segments=("The delivery's id.",),
            answer=wire.DeliveryBody,
            examples=("delivery",),
            refusals=(NotFound,),
        ),
        Route(
            "POST",
            "/v1/webhooks/test",
            test,
            id="send_test_event",
            tag="webhooks",
            summary="Send a test event to a URL",
            body=schemas.ADDRESS,
            answer=wire.DeliveryBody,
            examples=("delivery",),
            refusals=(BodyTooLarge,),
        ),
    )
