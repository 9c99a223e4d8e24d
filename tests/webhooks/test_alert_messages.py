"""Alerts all the way: judged by upkeep on a clock that the test moves, posted by a real sender to a real receiver."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fairlane.model.alerts import AlertKind, AlertRule
from fairlane.model.webhooks import Webhook
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.sweeper import Sweeper
from fairlane.webhooks.poster import Poster
from fairlane.webhooks.sender import Sender
from fairlane.webhooks.signing import new_secret
from tests.builders import ACTOR, a_task, an_organization, submitted
from tests.store.conftest import clock, database, store
from tests.store.databases import Clock, Database
from tests.webhooks.receiver import PRIVATE, Listen, names
from tests.webhooks.test_sender import came, is_standard, verified

__all__ = ["clock", "database", "store"]


@asynccontextmanager
async def sending(store: Store) -> AsyncIterator[None]:
    """A sender at work."""
    poster = Poster(
        reach=PRIVATE,
        timeout_seconds=5.0,
        tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        lookup=names(receiver=["127.0.0.1"]),
    )
    sender = Sender(store, poster, timeout_seconds=5.0)
    running = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        await sender.finish(5)
        await running


async def test_an_alert_arrives_signed_and_so_does_its_recovery(
    database: Database, clock: Clock, listen: Listen
) -> None:
    """Once each, provable with the organization's secret and no other; nothing in between, whatever swings."""
    store, receiver = database.store, await listen()
    organization, secret = await an_organization(store), new_secret()
    await store.webhook_secrets.create(organization.name, secret=secret, overlap_seconds=0, actor=ACTOR)
    webhook = Webhook(f"http://receiver.example:{receiver.port}/alert", "receiver.example")
    rule = AlertRule(kind=AlertKind.QUEUED_ABOVE, threshold=1, for_ms=120_000, webhook=webhook)
    alert = await store.alerts.create(organization.id, rule)
    upkeep = Sweeper(store, Settings(database=database.address), {})

    async def pass_(seconds: float) -> None:
        """Upkeep, and upkeep again so much later."""
        await upkeep.sweep_once()
        clock.advance(seconds)
        await upkeep.sweep_once()

    async with sending(store):
        await submitted(store, organization, *[a_task(payload='{"secret":1}') for _ in range(2)])
        await pass_(120)
        [(headers, body)] = await came(receiver, 1)
        await store.tasks.clear(organization.id)
        await pass_(119)
        await submitted(store, organization, a_task(), a_task())
        await pass_(119)
        assert len((await store.deliveries.page(organization.id, most=9)).deliveries) == 1
        await store.tasks.clear(organization.id)
        await pass_(120)
        told = await came(receiver, 2)
    await pass_(3_600)

    recovered = told[1]
    messages = [json.loads(body), json.loads(recovered[1])]
    assert [message["type"] for message in messages] == ["alert.fired", "alert.recovered"]
    assert [(message["value"], message["alert"]["firing"]) for message in messages] == [(2, True), (0, False)]
    assert {message["alert"]["id"] for message in messages} == {alert.id}
    assert all("secret" not in str(message) for message in messages)
    for sent_headers, sent_body in (told[0], recovered):
        assert verified(secret, sent_headers, sent_body)
        assert is_standard(secret, sent_headers, sent_body)
        assert not verified(new_secret(), sent_headers, sent_body)
        assert not is_standard(new_secret(), sent_headers, sent_body)
    assert (headers, body) == told[0]
    assert len((await store.deliveries.page(organization.id, most=9)).deliveries) == 2
