"""The hosts of webhooks: counted with each try, found by trouble or by name, with what holds their messages."""

import asyncio

from fairlane.model.organizations import Organization
from fairlane.model.webhooks import DueDelivery, HostFacts, HostHold, Tried
from fairlane.rules.deliveries import SenderState
from fairlane.store import Store
from fairlane.store.webhook_hosts import KEPT_DAYS, OVERDUE_MS
from tests.builders import DONE, a_task, a_worker, an_organization, claimed_deliveries, submitted
from tests.store.databases import Clock

SOME = 20
DAY = 86_400
"""In seconds."""


async def owe(store: Store, organization: Organization, *hosts: str) -> None:
    """End a task for each of these hosts, whose message is then due."""
    worker = await a_worker(store)
    await submitted(store, organization, *[a_task(webhook=host) for host in hosts])
    for _ in hosts:
        await worker.settle(await worker.take_one(), DONE)


async def send(store: Store, clock: Clock, *, failing: str = "", status: int = 503) -> None:
    """Try everything that is due; the host of this name fails."""
    for one in await claimed_deliveries(store):
        error = "status" if one.host == failing else None
        clock.advance(1)
        await store.deliveries.record(
            Tried(
                delivery_id=one.id, number=one.number, at=clock(), http_status=status if error else 200, error=error,
                took_ms=7,
            )
        )  # fmt: skip


async def named(store: Store, text: str = "") -> dict[str, HostFacts]:
    """Every host that begins with this text."""
    return {one.host: one for one in (await store.webhook_hosts.named(text, None, after="", most=SOME)).hosts}


async def troubled(store: Store, state: SenderState | None = None) -> list[HostFacts]:
    """Hosts with trouble."""
    return list((await store.webhook_hosts.troubled(state, most=SOME)).hosts)


async def test_tries_are_counted_by_host_over_all_organizations(store: Store, clock: Clock) -> None:
    """With the last try, since when it fails, and how many failed in a row; a success ends that."""
    first, second = await an_organization(store), await an_organization(store)
    await owe(store, first, "a.example", "b.example")
    await owe(store, second, "a.example")
    await send(store, clock, failing="a.example")
    began = clock()
    await owe(store, second, "a.example")
    await send(store, clock, failing="a.example", status=500)

    found = await named(store)

    a, b = found["a.example"], found["b.example"]
    assert (a.tries, a.failed, a.failed_in_row, a.last_status, a.last_error, a.last_ms) == (3, 3, 3, 500, "status", 7)
    assert a.failing_since is not None
    assert a.failing_since <= began
    assert (a.open, set(a.organizations), a.hold) == (3, {first.name, second.name}, HostHold.PAUSE)
    assert (b.tries, b.failed, b.failing_since, b.last_status, b.open, b.hold) == (1, 0, None, 200, 0, None)
    assert [one.host for one in await troubled(store)] == ["a.example"]
    assert (await store.fleet.find()).hosts_failing == 1

    clock.advance(DAY // 2)
    await send(store, clock)

    assert await troubled(store) == []
    assert (await store.fleet.find()).hosts_failing == 0
    assert (await named(store, "a"))["a.example"].failed_in_row == 0


async def test_tries_that_end_together_count_in_the_order_in_which_they_were_made(store: Store, clock: Clock) -> None:
    """Of several failures in one transaction after a success the first says since when the host fails."""
    await owe(store, await an_organization(store), *["a.example"] * 3)
    first, *others = await claimed_deliveries(store)
    began = clock()

    def ended(delivery: DueDelivery, second: int) -> Tried:
        fails = delivery is not first
        return Tried(
            delivery_id=delivery.id, number=delivery.number, at=began + second * 1_000,
            http_status=503 if fails else 200, error="status" if fails else None, took_ms=7,
        )  # fmt: skip

    tries = [ended(one, second) for second, one in enumerate([first, *others])]
    await asyncio.gather(*map(store.deliveries.record, tries))

    a = (await named(store))["a.example"]
    assert (a.tries, a.failed, a.failed_in_row) == (3, 2, 2)
    assert (a.failing_since, a.last_at) == (began + 1_000, began + 2_000)


async def test_counts_are_those_of_two_days(store: Store, clock: Clock) -> None:
    """Yesterday's count with today's; a day later the older ones are gone, and after two weeks the host is."""
    organization = await an_organization(store)
    clock.advance(DAY - clock() // 1_000 % DAY)
    counts = []
    for days in (0, 1, 1, 2):
        clock.advance(days * DAY)
        await owe(store, organization, "a.example")
        await send(store, clock)
        counts.append((await named(store))["a.example"].tries)

    assert counts == [1, 2, 2, 1]
    clock.advance((KEPT_DAYS - 1) * DAY)
    assert await store.webhook_hosts.purge() == 0
    clock.advance(3 * DAY)
    assert await store.webhook_hosts.purge() == 3  # of the host for all, of the organization for all hosts, and of both
    assert await named(store) == {}


async def test_what_is_overdue_comes_first_with_what_holds_it(store: Store, clock: Clock) -> None:
    """Also if nothing was ever tried there: no sender runs, or the organization's share is used."""
    organization = await an_organization(store)
    await owe(store, organization, "b.example")
    await send(store, clock, failing="b.example")
    await owe(store, organization, "never.example")
    assert [one.host for one in await troubled(store)] == ["b.example"]

    clock.advance(OVERDUE_MS / 1_000 + 1)
    under_way = [(organization.id, "other", False, 0)] * 10
    held, failing = await troubled(store, SenderState(under_way=under_way))
    clock.advance(55)
    stuck, _ = await troubled(store, SenderState())

    assert (held.host, held.hold, held.tries, held.last_at) == ("never.example", HostHold.ORGANIZATION_BUSY, 0, None)
    assert failing.hold is HostHold.PAUSE
    assert (stuck.host, stuck.hold, stuck.open) == ("never.example", HostHold.STUCK, 1)


async def test_hosts_come_in_pages_by_name(store: Store, clock: Clock) -> None:
    """The next page begins after the last name; those that begin otherwise are left out."""
    organization = await an_organization(store)
    await owe(store, organization, *[f"h{number}.example" for number in range(5)], "other.example")
    await send(store, clock)

    first = await store.webhook_hosts.named("h", None, after="", most=3)
    rest = await store.webhook_hosts.named("h", None, after=first.after or "", most=3)

    assert [one.host for one in (*first.hosts, *rest.hosts)] == [f"h{number}.example" for number in range(5)]
    assert (first.after, rest.after) == ("h2.example", None)


async def test_an_erased_organization_leaves_no_host_of_its_own(store: Store, clock: Clock) -> None:
    """The sums of all organizations stay."""
    organization = await an_organization(store)
    await owe(store, organization, "a.example")
    await send(store, clock)

    while not (await store.erasing.erase(organization.name, actor="a test")).done:
        pass

    [one] = (await named(store)).values()
    assert (one.tries, one.organizations) == (1, ())


async def test_an_organization_sees_its_own_at_its_hosts(store: Store, clock: Clock) -> None:
    """Counts, messages and running tries are its own; those with trouble come first, and its tries are summed."""
    organization, other = await an_organization(store), await an_organization(store)
    await owe(store, organization, "a.example", "c.example", "b.example")
    await owe(store, other, "a.example", "z.example")
    await send(store, clock, failing="c.example")
    await owe(store, other, "a.example")
    under_way = [(other.id, "a.example", False, 0), (organization.id, "a.example", False, 0)]

    page = await store.webhook_hosts.of_organization(
        organization.id, None, SenderState(under_way=under_way), after="", most=SOME
    )

    assert [(one.host, one.tries, one.failed, one.open, one.trying) for one in page.hosts] == [
        ("c.example", 1, 1, 1, 0),
        ("a.example", 1, 0, 0, 1),
        ("b.example", 1, 0, 0, 0),
    ]
    assert (page.tries, page.failed, page.more, page.hosts[0].hold) == (3, 1, False, HostHold.PAUSE)
    assert {one.organizations for one in page.hosts[:1]} == {(organization.name,)}


async def test_an_organization_sees_what_waits_at_a_host_without_tries(store: Store, clock: Clock) -> None:
    """Also if it alone waits, behind the messages of others."""
    organization, other = await an_organization(store), await an_organization(store)
    await owe(store, other, "a.example")
    await owe(store, organization, "never.example")
    clock.advance(OVERDUE_MS / 1_000 + 51)

    [host] = (await store.webhook_hosts.of_organization(organization.id, None, None, after="", most=SOME)).hosts

    assert (host.host, host.tries, host.open, host.hold) == ("never.example", 0, 1, HostHold.STUCK)


async def test_an_organization_pages_through_its_hosts_by_name(store: Store, clock: Clock) -> None:
    """The last page says that it is the last; the row of all hosts has no name and is no host."""
    organization = await an_organization(store)
    await owe(store, organization, "a1", "a2", "a3", "b1")
    await send(store, clock)

    async def page(text: str, after: str = "") -> tuple[list[str], str | None]:
        found = await store.webhook_hosts.of_organization(organization.id, text, None, after=after, most=2)
        return [one.host for one in found.hosts], found.after

    assert await page("a") == (["a1", "a2"], "a2")
    assert await page("a", "a2") == (["a3"], None)
    assert await page("b") == (["b1"], None)
    first = await store.webhook_hosts.of_organization(organization.id, None, None, after="", most=2)
    assert ([one.host for one in first.hosts], first.more, first.after) == (["a1", "a2"], True, None)
