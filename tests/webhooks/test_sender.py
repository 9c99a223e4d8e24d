"""The sender between a real store and real receivers on this machine, on a clock that the test moves.

On every database: what is sent again and what is not is the store's promise.
"""

import asyncio
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs
from standardwebhooks import Webhook as StandardWebhook

from fairlane import wire
from fairlane.errors import StoreFault
from fairlane.model.leases import Completed, Failed, Report
from fairlane.model.organizations import Organization
from fairlane.model.tasks import Failure
from fairlane.model.webhooks import Delivery, Tried, Webhook
from fairlane.rules.deliveries import DeliveryLimits
from fairlane.store import Store, new_id
from fairlane.webhooks import sender as sender_module
from fairlane.webhooks.addresses import Address
from fairlane.webhooks.guard import Reach
from fairlane.webhooks.poster import Poster
from fairlane.webhooks.sender import LIMITS, Sender
from fairlane.webhooks.signing import new_secret
from tests.builders import ACTOR, DONE, a_task, a_worker, an_organization
from tests.store.conftest import clock, database
from tests.store.databases import Database
from tests.webhooks.receiver import PRIVATE, Dialled, Listen, Receiver, answer, names

__all__ = ["clock", "database"]

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
BROKEN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Office:
    """An open store, its clock, and senders."""

    def __init__(self, database: Database, stack: AsyncExitStack) -> None:
        self.database = database
        self.clock = database.clock
        self._stack = stack
        self._looks = 0

    @property
    def store(self) -> Store:
        """The store that is open."""
        return self.database.store

    async def open_for_business(
        self, *, reach: Reach = PRIVATE, limits: DeliveryLimits = LIMITS, timeout_seconds: float = 5.0
    ) -> Sender:
        """A running sender; ``NAME.example`` is this machine, and looking for ``never.example`` takes for ever."""
        known = names(**{name: ["127.0.0.1"] for name in ("receiver", "dead", "alive")})

        async def lookup(host: str) -> Sequence[Address]:
            if host == "never.example":
                await asyncio.Event().wait()
            return await known(host)

        poster = Poster(
            reach=reach,
            timeout_seconds=timeout_seconds,
            tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            lookup=lookup,
        )
        next_delivery_at = self.store.deliveries.next_due_at

        async def counted(*, after: int = -1) -> int | None:
            found = await next_delivery_at(after=after)
            self._looks += after < 0
            return found

        self.store.deliveries.next_due_at = counted  # type: ignore[method-assign]
        sender = Sender(self.store, poster, timeout_seconds=timeout_seconds, limits=limits)
        running = asyncio.create_task(sender.run())

        async def close() -> None:
            await sender.finish(0)
            await running

        self._stack.push_async_callback(close)
        return sender

    async def looked(self, times: int = 5) -> None:
        """Return once the sender has looked so often for what is due: what it should not have sent, it would have."""
        wanted = self._looks + times

        async def look() -> bool:
            return self._looks >= wanted

        await eventually(look)

    async def owe(
        self,
        organization: Organization,
        *ports: int,
        host: str = "receiver.example",
        path: str = "/hook?token=a%20b",
        fail: bool = False,
        size: int = 0,
    ) -> list[str]:
        """Finished tasks whose webhooks listen on these ports, in this order; their ids. ``size``: of each result."""
        worker = await a_worker(self.store)
        for port in ports:
            webhook = Webhook(f"http://{host}:{port}{path}", f"{host}:{port}")
            task = structs.replace(a_task(key=f"key-{new_id()}"), webhook=webhook)
            await self.store.tasks.submit(organization.id, [task])
        leases = await worker.take(len(ports))
        ending = Failed(cause="x", retry=False, failure=Failure(code="NO", message="no")) if fail else DONE
        if size:
            ending = Completed(json.dumps({"text": "x" * (size - 12)}))
        await worker.exchange(*[Report(lease.id, ending) for lease in leases])
        return [lease.task_id for lease in leases]

    async def deliveries(self, organization: Organization) -> list[Delivery]:
        """All of an organization's, oldest first."""
        return [*(await self.store.deliveries.page(organization.id, most=100)).deliveries][::-1]

    async def settled(self, organization: Organization, *, tries: int) -> list[Delivery]:
        """Its deliveries, once so many tries of them are recorded and none is under way."""

        async def look() -> list[Delivery]:
            found = await self.deliveries(organization)
            enough = sum(len(one.tries) for one in found) >= tries and not any(one.trying for one in found)
            return found if enough else []

        return await eventually(look)


async def eventually(look: Callable[[], Awaitable[Any]], *, seconds: float = 10.0) -> Any:
    """What ``look`` returns once that is truthy."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(0.005)
    return found


async def came(receiver: Receiver, count: int) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of each request, once there are so many."""

    async def look() -> bool:
        return len(receiver.requests) >= count

    await eventually(look)
    return [taken_apart(request) for request in receiver.requests]


def taken_apart(request: bytes) -> tuple[dict[str, str], bytes]:
    """Headers by their lower-case names, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """The contract's scheme (9.3)."""
    message = headers["x-cloro-timestamp"].encode() + b"." + body
    return headers["x-cloro-signature"] == "v1=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def is_standard(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Standard Webhooks, by its own library. Its verifier looks at the wall's clock, so it is asked to sign instead."""
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    signed = StandardWebhook(secret).sign(headers["webhook-id"], at, body.decode())
    return signed in headers["webhook-signature"].split(" ")


async def never_answer(*_: object) -> None:
    """Hold the connection for ever."""
    await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test moves the clock; nobody tells the sender."""
    monkeypatch.setattr(sender_module, "POLL_SECONDS", 0.01)


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    """A store with a clock of the test's."""
    async with AsyncExitStack() as stack:
        yield Office(database, stack)


# What arrives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail", [False, True])
async def test_a_webhook_is_told_what_get_answers(office: Office, listen: Listen, fail: bool) -> None:
    """Completed or failed: the body of GET without the webhook block, the query untouched, once (contract, 9.1)."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    await office.open_for_business()

    (task,) = await office.owe(organization, receiver.port, fail=fail)

    (delivery,) = await office.settled(organization, tries=1)
    ((headers, body),) = await came(receiver, 1)
    view = await office.store.tasks.find(organization.id, task)
    assert view is not None
    shown = json.loads(wire.task_body(view))
    assert shown.pop("webhook")["delivered"] is True
    del shown["waited"]
    assert json.loads(body) == shown
    assert list(json.loads(body)) == ["task", "credits", "response"]
    assert receiver.requests[0].startswith(b"POST /hook?token=a%20b HTTP/1.1\r\n")
    assert headers["content-type"] == "application/json"
    assert not any(name.startswith(("x-cloro", "webhook-")) for name in headers)
    assert delivery.delivered_at == office.clock()


async def test_a_test_event_arrives_signed(office: Office, listen: Listen) -> None:
    """With its own id where a task's would be."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    secret = await a_secret(office, organization)
    await office.open_for_business()
    identity, url = new_id(), f"http://receiver.example:{receiver.port}/"

    await office.store.deliveries.create_test(
        organization.id, Webhook(url, "receiver.example"), delivery_id=identity, body='{"task":{}}'
    )

    ((headers, body),) = await came(receiver, 1)
    assert (headers["x-cloro-webhook-id"], body) == (f"{identity}-1", b'{"task":{}}')
    assert verified(secret, headers, body)


async def a_secret(office: Office, organization: Organization, *, overlap_seconds: float = 60) -> str:
    """A new secret of this organization."""
    secret = new_secret()
    await office.store.webhook_secrets.create(
        organization.name, secret=secret, overlap_seconds=overlap_seconds, actor=ACTOR
    )
    return secret


async def test_every_try_is_signed_again(office: Office, listen: Listen) -> None:
    """The same bytes, a new number, a new timestamp (contract, 9.3)."""
    receiver = await listen(Receiver(answer(BROKEN)))
    organization = await an_organization(office.store)
    secret = await a_secret(office, organization)
    await office.open_for_business()
    (task,) = await office.owe(organization, receiver.port)
    times = [office.clock.at // 1_000]
    await office.settled(organization, tries=1)

    for number in (2, 3):
        office.clock.at = await office.store.deliveries.next_due_at() or 0
        times.append(office.clock.at // 1_000)
        await office.settled(organization, tries=number)

    requests = await came(receiver, 3)
    assert [headers["x-cloro-webhook-id"] for headers, _ in requests] == [f"{task}-{number}" for number in (1, 2, 3)]
    assert [headers["x-cloro-timestamp"] for headers, _ in requests] == [str(at) for at in times]
    assert [headers["webhook-id"] for headers, _ in requests] == [task] * 3
    assert len({body for _, body in requests}) == 1
    assert all(verified(secret, headers, body) for headers, body in requests)
    assert len({headers["x-cloro-signature"] for headers, _ in requests}) == 3


async def test_two_secrets_overlap_while_they_are_rotated(office: Office, listen: Listen) -> None:
    """The contract's signature is the newest's alone, at once; Standard Webhooks has both until the overlap ends."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    await office.open_for_business()
    old = await a_secret(office, organization)
    new = await a_secret(office, organization)

    await office.owe(organization, receiver.port)
    ((during, body),) = await came(receiver, 1)
    await office.settled(organization, tries=1)
    office.clock.advance(60)
    await office.owe(organization, receiver.port)
    (_, (after, later)) = await came(receiver, 2)

    assert verified(new, during, body)
    assert not verified(old, during, body)
    assert [is_standard(secret, during, body) for secret in (new, old)] == [True, True]
    assert [is_standard(secret, after, later) for secret in (new, old)] == [True, False]


async def test_a_clock_that_is_set_back_brings_no_third_secret(office: Office, listen: Listen) -> None:
    """Its overlap had ended when the newest came; two sign all the same, the newest two."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    await office.open_for_business()
    oldest, old = await a_secret(office, organization), await a_secret(office, organization)
    office.clock.advance(60)
    new = await a_secret(office, organization)
    office.clock.advance(-1)

    await office.owe(organization, receiver.port)

    (delivery,) = await office.settled(organization, tries=1)
    assert [one.error for one in delivery.tries] == [None]
    ((headers, body),) = await came(receiver, 1)
    assert verified(new, headers, body)
    assert [is_standard(secret, headers, body) for secret in (new, old, oldest)] == [True, True, False]


async def test_a_revoked_secret_signs_no_more(office: Office, listen: Listen) -> None:
    """Switched off means none of the headers, at once."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    await office.open_for_business()
    await a_secret(office, organization)
    await office.store.webhook_secrets.revoke(organization.name, secret_id=None, actor=ACTOR)

    await office.owe(organization, receiver.port)

    ((headers, _),) = await came(receiver, 1)
    assert not any(name.startswith(("x-cloro", "webhook-")) for name in headers)


# When it does not arrive ---------------------------------------------------------------------------------------------


async def test_a_failing_receiver_is_tried_five_times(office: Office, listen: Listen) -> None:
    """At its moments and not before; then it is given up, and the result stays readable (contract, 9.2)."""
    receiver = await listen(Receiver(answer(BROKEN)))
    organization = await an_organization(office.store)
    await office.open_for_business()
    (task,) = await office.owe(organization, receiver.port)
    pauses = []
    for number in range(1, 5):
        await office.settled(organization, tries=number)
        due_at = await office.store.deliveries.next_due_at()
        assert due_at is not None
        pauses.append((due_at - office.clock.at) / 1_000)
        office.clock.at = due_at - 1
        await office.looked()
        assert len(receiver.requests) == number
        office.clock.at = due_at

    (delivery,) = await office.settled(organization, tries=5)

    assert await office.store.deliveries.next_due_at() is None
    assert all(
        wanted * 0.9 <= pause <= wanted * 1.1 for pause, wanted in zip(pauses, (120, 240, 480, 960), strict=True)
    )
    assert [one.http_status for one in delivery.tries] == [503] * 5
    view = await office.store.tasks.find(organization.id, task)
    assert view is not None
    assert view.result is not None


async def test_a_pause_below_the_poll_is_not_rounded_up(
    office: Office, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender wakes for the next moment at which something is due, and asks the store at no other."""
    monkeypatch.setattr(sender_module, "POLL_SECONDS", 600)
    await office.database.close()
    await office.database.open(webhook_pauses_seconds="0.2,0.1,0.4")
    receiver = await listen(Receiver(answer(BROKEN)))
    organization = await an_organization(office.store)
    await office.open_for_business()
    await office.owe(organization, receiver.port)
    pauses = []

    for number in (1, 2, 3):
        await office.settled(organization, tries=number)
        due_at = await office.store.deliveries.next_due_at() or 0
        pauses.append(due_at - office.clock.at)
        office.clock.at = due_at

    await office.settled(organization, tries=4)
    assert [wanted * 0.9 <= pause <= wanted for pause, wanted in zip(pauses, (200, 100, 400), strict=True)] == [
        True
    ] * 3


async def test_a_busy_receiver_is_left_alone_as_long_as_it_asks(office: Office, listen: Listen) -> None:
    """Beyond the schedule; a moment before, nothing is sent."""
    receiver = await listen(Receiver(answer(b"HTTP/1.1 429 Busy\r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n")))
    organization = await an_organization(office.store)
    await office.open_for_business()
    await office.owe(organization, receiver.port)

    (delivery,) = await office.settled(organization, tries=1)

    assert delivery.due_at == office.clock.at + 7_200_000


async def test_redelivery_tells_it_again(office: Office, listen: Listen) -> None:
    """The same task, the next number."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    await a_secret(office, organization)
    await office.open_for_business()
    (task,) = await office.owe(organization, receiver.port)
    (delivery,) = await office.settled(organization, tries=1)

    await office.store.deliveries.redeliver(organization.id, delivery.id)

    requests = await came(receiver, 2)
    assert [headers["x-cloro-webhook-id"] for headers, _ in requests] == [f"{task}-1", f"{task}-2"]


async def test_a_crash_between_the_post_and_its_record_sends_again(
    office: Office, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least once: the next number after the claim ran out, however the first was answered."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    await a_secret(office, organization)

    async def fails(*_: object) -> None:
        raise StoreFault("gone")

    with monkeypatch.context() as patch:
        patch.setattr(office.store.deliveries, "record", fails)
        sender = await office.open_for_business()
        (task,) = await office.owe(organization, receiver.port)
        await came(receiver, 1)
        await sender.finish(5)
    await office.database.crash()
    office.clock.advance(29)
    await office.open_for_business()
    await office.looked()
    early = len(receiver.requests)
    office.clock.advance(1)

    requests = await came(receiver, 2)

    assert early == 1
    assert [headers["x-cloro-webhook-id"] for headers, _ in requests] == [f"{task}-1", f"{task}-2"]
    (delivery,) = await office.settled(organization, tries=2)
    assert [one.error for one in delivery.tries] == ["interrupted", None]


async def test_a_dead_endpoint_delays_nobody_else(office: Office, listen: Listen) -> None:
    """Neither another organization nor its own other endpoint; and it gets four connections, not more (I11)."""
    dead = await listen(Receiver(never_answer))
    alive = await listen(Receiver(answer(OK)))
    unlucky, other = await an_organization(office.store, slots=50), await an_organization(office.store, slots=50)
    await office.open_for_business(timeout_seconds=60)
    await office.owe(unlucky, *[dead.port] * 30, host="dead.example")

    await office.owe(unlucky, *[alive.port] * 5, host="alive.example")
    await office.owe(other, *[alive.port] * 20, host="alive.example")

    await came(alive, 25)
    assert all(one.delivered_at is not None for one in await office.settled(other, tries=20))
    assert dead.connections == 4


async def test_a_port_that_hangs_delays_no_other_port_of_its_host(office: Office, listen: Listen) -> None:
    """Another organization's, on the same machine; the port that hangs has its four tries and no more."""
    hanging, alive = await listen(Receiver(never_answer)), await listen(Receiver(answer(OK)))
    unlucky, other = await an_organization(office.store, slots=50), await an_organization(office.store)
    await office.open_for_business(timeout_seconds=60)
    await office.owe(unlucky, *[hanging.port] * 12)

    await office.owe(other, alive.port)

    await office.settled(other, tries=1)

    async def full() -> bool:
        return hanging.connections >= 4

    await eventually(full)
    await office.looked()
    assert hanging.connections == 4


async def test_an_organization_is_heard_at_a_host_that_others_fill(office: Office, listen: Listen) -> None:
    """The same host and port: beyond the four tries of all together each organization has one."""
    release = asyncio.Event()

    async def script(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await receiver.read_request(reader)
        if not request.startswith(b"POST /hook?token=a%20b"):
            await release.wait()
        writer.write(OK)
        await writer.drain()

    receiver = await listen(Receiver(script))
    unlucky, other = await an_organization(office.store, slots=50), await an_organization(office.store)
    await office.open_for_business(timeout_seconds=60)
    await office.owe(unlucky, *[receiver.port] * 6, path="/slow")

    await office.owe(other, receiver.port)

    await office.settled(other, tries=1)
    assert receiver.connections == 5


@pytest.mark.parametrize("reserve", [4, 0])
async def test_organizations_whose_receivers_hang_delay_no_other(office: Office, listen: Listen, reserve: int) -> None:
    """They hold all places, and the reserve has one for the others. Without a reserve the message waits."""
    hanging = [await listen(Receiver(never_answer)) for _ in range(3)]
    alive = await listen(Receiver(answer(OK)))
    unlucky = [await an_organization(office.store, slots=50) for _ in range(2)]
    other = await an_organization(office.store)
    limits = DeliveryLimits(total=8, reserve=reserve)
    await office.open_for_business(timeout_seconds=60, limits=limits)
    for one in unlucky:
        await office.owe(one, *[receiver.port for receiver in hanging] * 4)

    async def full() -> bool:
        return sum(receiver.connections for receiver in hanging) >= 8 + min(2, reserve)

    await eventually(full)
    await office.owe(other, *[alive.port] * 2)

    if reserve:
        await office.settled(other, tries=2)
    else:
        await office.looked()
    assert alive.connections == (2 if reserve else 0)
    assert sum(receiver.connections for receiver in hanging) == 8 + min(2, reserve)


ROOM = DeliveryLimits(bytes_free=1_000, bytes_organization=20_000, bytes_total=40_000, bytes_reserve=20_000)


@pytest.mark.parametrize("limits", [ROOM, structs.replace(ROOM, bytes_organization=10**9, bytes_total=10**9)])
async def test_large_messages_that_hang_leave_room_for_others(
    office: Office, listen: Listen, limits: DeliveryLimits
) -> None:
    """What their bodies have in memory stays within the budget, and another organization's message leaves before any of
    them is over. Without a budget all of them are in memory."""
    hanging = [await listen(Receiver(never_answer)) for _ in range(3)]
    alive = await listen(Receiver(answer(OK)))
    unlucky = [await an_organization(office.store, slots=50) for _ in range(8)]
    other = await an_organization(office.store)
    for one in unlucky:
        await office.owe(one, *[receiver.port for receiver in hanging], host="never.example", size=10_000)
    sender = await office.open_for_business(timeout_seconds=60, limits=limits)
    await office.looked()

    await office.owe(other, alive.port)
    await office.settled(other, tries=1)

    bodies = [place.size for place in sender.turns.places.values()]
    assert not [one for each in unlucky for one in await office.deliveries(each) if one.tries]
    assert all(10_000 <= size < 11_000 for size in bodies)
    assert len(bodies) == (6 if limits is ROOM else 24)


async def test_a_large_message_finds_room_once_another_is_written(office: Office, listen: Listen) -> None:
    """Although its receiver does not answer: what is written needs no memory of ours."""
    hanging, alive = await listen(Receiver(never_answer)), await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store, slots=50)
    await office.owe(organization, hanging.port, hanging.port, alive.port, size=20_000)

    await office.open_for_business(timeout_seconds=60, limits=ROOM)

    [(_, body)] = await came(alive, 1)
    assert len(body) > 20_000
    assert hanging.connections == 2


async def test_an_organization_has_ten_under_way(office: Office, listen: Listen) -> None:
    """Over however many hosts."""
    dead = [await listen(Receiver(never_answer)) for _ in range(3)]
    organization = await an_organization(office.store, slots=50)
    await office.open_for_business(timeout_seconds=60)

    for receiver, host in zip(dead, ("receiver", "dead", "alive"), strict=True):
        await office.owe(organization, *[receiver.port] * 6, host=f"{host}.example")

    async def look() -> bool:
        return sum(receiver.connections for receiver in dead) >= 10

    await eventually(look)
    await office.looked()
    assert sum(receiver.connections for receiver in dead) == 10


async def test_an_organizations_webhooks_leave_in_the_order_of_completion(office: Office, listen: Listen) -> None:
    """One place at the host shows it: what left first arrives first."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store, slots=10)
    tasks = await office.owe(organization, *[receiver.port] * 10)

    await office.open_for_business(limits=DeliveryLimits(host=1))

    assert [json.loads(body)["task"]["id"] for _, body in await came(receiver, 10)] == tasks


async def test_what_must_not_be_reached_is_not_dialled(office: Office, dialled: Dialled) -> None:
    """The guard is asked at each try: a name that was fine at submission may point home now."""
    organization = await an_organization(office.store)
    await office.open_for_business(reach=Reach())

    await office.owe(organization, 8080)

    (delivery,) = await office.settled(organization, tries=1)
    assert [one.error for one in delivery.tries] == ["refused_by_policy"]
    assert delivery.due_at is not None
    assert dialled == []


async def test_a_mistake_of_ours_follows_the_schedule(
    office: Office, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that cannot be opened: nothing leaves unsigned, nothing is tried without end, others go on."""
    receiver = await listen(Receiver(answer(OK)))
    organization, other = await an_organization(office.store), await an_organization(office.store)
    real = office.store.webhook_secrets.signing

    async def fails(organization_id: int) -> list[str]:
        if organization_id == organization.id:
            raise RuntimeError("sealed")
        return await real(organization_id)

    monkeypatch.setattr(office.store.webhook_secrets, "signing", fails)
    await office.open_for_business()

    await office.owe(organization, receiver.port)
    await office.owe(other, receiver.port)

    (delivery,) = await office.settled(organization, tries=1)
    await office.settled(other, tries=1)
    assert [one.error for one in delivery.tries] == ["broken"]
    assert delivery.due_at is not None
    assert len(receiver.requests) == 1


async def test_an_outage_is_two_lines_of_log(
    office: Office, listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One when tries can no longer be made or written down, one with their number when they can: no trace for each."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store, slots=9)
    away, read, record = [True], office.store.webhook_secrets.signing, office.store.deliveries.record
    lost: list[None] = []

    def full() -> None:
        if away[0]:
            lost.append(None)
            raise StoreFault("the disk is full")

    async def reads(organization_id: int) -> list[str]:
        if len(lost) < 3:
            full()
        return await read(organization_id)

    async def records(tried: Tried) -> None:
        full()
        await record(tried)

    monkeypatch.setattr(office.store.webhook_secrets, "signing", reads)
    monkeypatch.setattr(office.store.deliveries, "record", records)
    await office.open_for_business()
    await office.owe(organization, *[receiver.port] * 6)

    async def all_lost() -> bool:
        return len(lost) == 6

    await eventually(all_lost)
    away[0] = False
    office.clock.advance(30)
    await office.settled(organization, tries=12)

    told = [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
    assert [(one.getMessage(), getattr(one, "count", None)) for one in told] == [
        ("delivery.unrecorded", None), ("delivery.recorded", 6),
    ]  # fmt: skip
    assert [one.exc_info for one in told] == [None, None]


async def test_a_claim_that_fails_over_and_over_is_two_lines_of_log(
    office: Office, listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk: what is due cannot be claimed at each look."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    claim, failures = office.store.deliveries.claim, [StoreFault("full")] * 5

    async def claims(*arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return await claim(*arguments, **named)

    monkeypatch.setattr(office.store.deliveries, "claim", claims)
    await office.open_for_business()

    await office.owe(organization, receiver.port)

    await office.settled(organization, tries=1)
    told = [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
    assert [(one.getMessage(), getattr(one, "count", None), getattr(one, "cause", None)) for one in told] == [
        ("deliveries.failed", None, "full"), ("deliveries.resumed", 5, None),
    ]  # fmt: skip


# Ending --------------------------------------------------------------------------------------------------------------


async def test_a_drained_sender_finishes_what_it_sends_and_starts_nothing(office: Office, listen: Listen) -> None:
    """What is left is due for the next server."""
    release = asyncio.Event()

    async def script(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receiver.read_request(reader)
        await release.wait()
        writer.write(OK)
        await writer.drain()

    receiver = await listen(Receiver(script))
    organization = await an_organization(office.store)
    sender = await office.open_for_business()
    await office.owe(organization, receiver.port)
    await came(receiver, 1)

    ending = asyncio.create_task(sender.finish(5))
    await asyncio.sleep(0)
    await office.owe(organization, receiver.port)
    release.set()
    await ending

    first, second = await office.deliveries(organization)
    assert first.delivered_at is not None
    assert (second.due_at, second.tries) == (office.clock.at, ())


async def test_what_is_being_claimed_at_the_end_is_sent_before_it(
    office: Office, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that is on its way when the sender is told to finish: its delivery does not wait for it to run out."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    await office.owe(organization, receiver.port)
    claim, claiming, release = office.store.deliveries.claim, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **named: Any) -> Any:
        found = await claim(*arguments, **named)
        claiming.set()
        await release.wait()
        return found

    monkeypatch.setattr(office.store.deliveries, "claim", slow)
    sender = await office.open_for_business()
    await claiming.wait()

    ending = asyncio.create_task(sender.finish(5))
    for _ in range(3):
        await asyncio.sleep(0)
    early = ending.done()
    release.set()
    await ending

    assert not early
    (delivery,) = await office.deliveries(organization)
    assert delivery.delivered_at is not None


async def test_a_post_beyond_the_drain_is_cut_off_and_sent_again(office: Office, listen: Listen) -> None:
    """Its claim runs out."""
    receiver = await listen(Receiver(never_answer))
    organization = await an_organization(office.store)
    sender = await office.open_for_business()
    await office.owe(organization, receiver.port)
    await receiver.came.wait()

    await sender.finish(0.01)

    assert await office.store.deliveries.next_due_at() == office.clock.at + 30_000
    office.clock.advance(30)
    await office.open_for_business()

    async def look() -> bool:
        return receiver.connections == 2

    await eventually(look)


async def test_a_store_that_fails_for_a_moment_is_asked_again(
    office: Office, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender has no caller to tell."""
    receiver = await listen(Receiver(answer(OK)))
    organization = await an_organization(office.store)
    real, failures = office.store.deliveries.next_due_at, [StoreFault("busy")]

    async def fails(*, after: int = -1) -> int | None:
        if failures:
            raise failures.pop()
        return await real(after=after)

    monkeypatch.setattr(office.store.deliveries, "next_due_at", fails)
    await office.open_for_business()

    await office.owe(organization, receiver.port)

    await came(receiver, 1)
