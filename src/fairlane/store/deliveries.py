"""Deliveries: messages owed to webhooks. Written with the outcome, claimed for a try, then updated with its result.

Only the sender claims. It sends outside of any transaction, so after a crash between claim and record the message is
sent again: at least once.
"""

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from fairlane.errors import NotFound, ValidationRefused
from fairlane.model.webhooks import (
    INTERRUPTED,
    Claimed,
    Delivery,
    DeliveryFilter,
    DeliveryList,
    DeliveryTry,
    DueDelivery,
    HostHold,
    Tried,
    Webhook,
)
from fairlane.rules.deliveries import DeliveryChoice, OpenMessages, SenderState, delivery_hold, delivery_pause_ms
from fairlane.store.filtering import CLOCKS_MS, LOOK_FIRST, LOOK_MOST, first_id_after
from fairlane.store.noun import Noun, Shared
from fairlane.store.statements import (
    AFTER_ALL_IDS,
    Moment,
    Operation,
    Row,
    clock,
    only,
    rows,
    rows_if,
    run,
    run_if,
)
from fairlane.store.transaction import Transaction
from fairlane.store.webhook_hosts import HostTry, count_tries

EVERY_DELIVERY = DeliveryFilter()
OPEN_TESTS_MOST = 10
"""Most test events of one organization that wait to be sent."""
ORGANIZATIONS_WALKED = 1_000
"""Most organizations with open deliveries that one claim looks at; the next claim continues from there."""
ORGANIZATIONS_ASKED = 64
"""Organizations that one statement looks up hosts for."""
HOSTS_WALKED = 100
"""Most hosts of one organization that one claim looks at; the next claim continues from there."""


class DeliveryRow(Row, frozen=True):
    """A delivery, as its organization sees it."""

    id: str
    task_id: str | None
    url: str
    host: str
    tries: int
    due_at: int | None
    claimed_until: int | None
    delivered_at: int | None
    created_at: int
    alert_id: str | None


class TryRow(Row, frozen=True):
    """A try of a delivery."""

    delivery_id: str
    number: int
    at: int
    http_status: int | None
    error: str | None
    took_ms: int
    answer: str | None
    asked_ms: int | None


class DueOrganizationRow(Row, frozen=True):
    """An organization with open deliveries, and the earliest moment at which one is due."""

    organization_id: int
    due_at: int


class DueRow(Row, frozen=True):
    """A due delivery of one host."""

    id: str
    tries: int
    due_at: int
    size: int


class HostRow(Row, frozen=True):
    """A host of an organization with open deliveries, and the first that are due."""

    organization_id: int
    host: str
    place: int
    """The number of the host in the walk over this organization's hosts, from 1."""
    due: list[DueRow]


class LockedDeliveryRow(Row, frozen=True):
    """A delivery that is about to be tried."""

    id: str
    organization_id: int
    task_id: str | None
    url: str
    host: str
    body: str | None
    tries: int
    claimed_until: int | None


class OpenDelivery(Struct, array_like=True):
    """A delivery, as recording a try changes it."""

    id: str
    task_id: str | None
    alert_id: str | None
    tries: int
    due_at: int | None
    claimed_until: int | None
    delivered_at: int | None
    organization_id: int
    host: str


class DeliveryStore(Noun):
    """Messages owed to webhooks, and their tries."""

    def __init__(self, shared: Shared, *, pauses_ms: Sequence[int]) -> None:
        """``pauses_ms`` are the pauses between the tries of one delivery."""
        super().__init__(shared)
        self._record_tries = self._plural(partial(_record_tries, pauses_ms=pauses_ms))

    async def page(
        self,
        organization_id: int,
        *,
        chosen: DeliveryFilter = EVERY_DELIVERY,
        cursor: str | None = None,
        most: int,
        state: SenderState | None = None,
    ) -> DeliveryList:
        """Return one page of an organization's deliveries, newest first, at a constant cost regardless of their number.

        A page looks at a bounded number of deliveries, so with a filter it may be short, or empty, and still have a
        next one. ``cursor`` comes from the page before. ``state`` is that of this server's sender, if it has one.
        """
        found = find_deliveries(organization_id, chosen, cursor, most, state)
        return await self._database.snapshot(found, share=organization_id)

    async def redeliver(self, organization_id: int, delivery_id: str) -> Delivery:
        """Make a delivery due now, regardless of its result; numbering continues. Raises NotFound.

        A running try gets no second one next to it.
        """
        return await self._write(_redeliver, organization_id, delivery_id)

    async def create_test(self, organization_id: int, webhook: Webhook, *, delivery_id: str, body: str) -> Delivery:
        """Create a delivery without a task: one try of ``body``. Raises ValidationRefused while ten of the organization
        wait."""
        return await self._write(_create_test, organization_id, webhook, delivery_id, body)

    async def next_due_at(self, *, after: int = -1) -> int | None:
        """Return the first moment after this one at which a delivery is due or a claim expires, or None."""
        return await self._database.read(next_delivery(after))

    async def claim(self, state: SenderState, *, claim_ms: int) -> Claimed:
        """Take due deliveries for one try each: organizations in the order of virtual time, within the sender's limits.

        They belong to this server for ``claim_ms``; then they are due again.
        """
        return await self._write(_claim, state, claim_ms)

    def record(self, tried: Tried) -> Awaitable[None]:
        """Write the result of a try. The first success ends its delivery, and so does the last allowed failure.

        A result that arrives after the claim expired and another try began is recorded, but only a success still
        counts. A delivery that is gone is left alone. Safe to repeat.
        """
        return self._database.write(self._record_tries, tried)


def owe_deliveries(transaction: Transaction, tasks: Sequence[tuple[int, str]]) -> Operation[None]:
    """Create one delivery for each of these (organization, task) with a webhook, due at once, in this order.

    Call it in the transaction that writes the outcome.
    """
    owed = [(transaction.config.new_id(), organization_id, task_id) for organization_id, task_id in tasks]
    yield from run_if("insert_deliveries", owed, tasks=owed, now=transaction.now)
    transaction.effects.owed = transaction.effects.owed or bool(owed)


def _create_test(
    transaction: Transaction, organization_id: int, webhook: Webhook, identity: str, body: str
) -> Operation[Delivery]:
    yield from transaction.lock([organization_id])  # two requests at once are counted one after the other
    waiting = yield from only("count_open_tests", into=int, organization_id=organization_id)
    if waiting >= OPEN_TESTS_MOST:
        raise ValidationRefused.at("url", f"{OPEN_TESTS_MOST} test events are waiting to be sent already")
    yield from run(
        "insert_test_delivery", id=identity, organization_id=organization_id, url=webhook.url, host=webhook.host,
        body=body, now=transaction.now,
    )  # fmt: skip
    transaction.effects.owed = True
    return (yield from find_delivery(organization_id, identity))


def _redeliver(transaction: Transaction, organization_id: int, identity: str) -> Operation[Delivery]:
    now = yield from transaction.read_clock()
    yield from run("redeliver", id=identity, organization_id=organization_id, now=now)
    transaction.effects.owed = True
    return (yield from find_delivery(organization_id, identity))


# Reading -------------------------------------------------------------------------------------------------------------


def find_delivery(organization_id: int, identity: str) -> Operation[Delivery]:
    """Read one delivery, or refuse with NotFound."""
    found = yield from rows("find_delivery", into=DeliveryRow, organization_id=organization_id, id=identity)
    if not found:
        raise NotFound.named("delivery", identity)
    return (yield from _shown(organization_id, found, None))[0]


def find_deliveries(
    organization_id: int, chosen: DeliveryFilter, cursor: str | None, most: int, state: SenderState | None
) -> Operation[DeliveryList]:
    """Read one page. Needs one snapshot. It looks at no more than LOOK_MOST deliveries."""
    if chosen.task_id is not None:
        found = yield from rows(
            "find_delivery_of_task", into=DeliveryRow, organization_id=organization_id, task_id=chosen.task_id
        )
        own = [row for row in found if is_chosen(row, chosen) and row.id < (cursor or AFTER_ALL_IDS)]
        return DeliveryList(tuple((yield from _shown(organization_id, own, state))), None)
    step = yield from _walk(organization_id, chosen, cursor, most)
    return DeliveryList(tuple((yield from _shown(organization_id, step[0], state))), step[1])


def _walk(
    organization_id: int, chosen: DeliveryFilter, cursor: str | None, most: int
) -> Operation[tuple[list[DeliveryRow], str | None]]:
    """Return at most ``most`` chosen deliveries behind a place, and the place behind which the next page begins."""
    found: list[DeliveryRow] = []
    after: str | None = cursor
    before, looked = min(cursor or AFTER_ALL_IDS, first_id_after(chosen.created_before)), 0
    while looked < LOOK_MOST:
        # One more than requested shows whether there is a next page.
        reads = LOOK_MOST - looked if looked else most + 1 if chosen == EVERY_DELIVERY else LOOK_FIRST
        read = yield from rows(
            "find_deliveries", into=DeliveryRow, organization_id=organization_id, before=before, most=reads
        )
        looked += len(read)
        for row in read:
            if is_chosen(row, chosen):
                if len(found) == most:
                    return found, after
                found.append(row)
            after = before = row.id
        if len(read) < reads or _is_before(read[-1], chosen):
            return found, None
    return found, after


def is_chosen(row: DeliveryRow, chosen: DeliveryFilter) -> bool:
    """Return whether a delivery meets every condition."""
    return (
        chosen.status in (None, _of_row(row).status)
        and (chosen.url_prefix is None or row.url.startswith(chosen.url_prefix))
        and (chosen.host_prefix is None or row.host.startswith(chosen.host_prefix))
        and (chosen.created_from is None or row.created_at >= chosen.created_from)
        and (chosen.created_before is None or row.created_at < chosen.created_before)
    )


def _is_before(row: DeliveryRow, chosen: DeliveryFilter) -> bool:
    """Return whether all deliveries behind this one were created before the chosen moment."""
    return chosen.created_from is not None and row.created_at < chosen.created_from - CLOCKS_MS


def _shown(organization_id: int, found: Sequence[DeliveryRow], state: SenderState | None) -> Operation[list[Delivery]]:
    """Add to deliveries their tries, and why they wait."""
    now = yield from clock()
    tries: dict[str, list[DeliveryTry]] = {row.id: [] for row in found}
    for row in (yield from rows_if("find_tries", found, into=TryRow, ids=list(tries))):
        tries[row.delivery_id].append(row.to(DeliveryTry))
    return [_of_row(row, tries[row.id], _hold(organization_id, row, tries[row.id], state, now)) for row in found]


def _of_row(row: DeliveryRow, tries: Sequence[DeliveryTry] = (), hold: HostHold | None = None) -> Delivery:
    return Delivery(
        id=row.id,
        task_id=row.task_id,
        alert_id=row.alert_id,
        url=row.url,
        due_at=None if row.claimed_until is not None else row.due_at,
        trying=row.claimed_until is not None,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
        tries=tuple(tries),
        hold=hold,
    )


def _hold(
    organization_id: int, row: DeliveryRow, tries: Sequence[DeliveryTry], state: SenderState | None, now: int
) -> HostHold | None:
    if row.due_at is None or row.claimed_until is not None:
        return None
    messages = OpenMessages(host=row.host, organizations=[organization_id], overdue_ms=now - row.due_at)
    return delivery_hold(messages, state, asked=bool(tries) and tries[-1].asked_ms is not None)


def next_delivery(after: int) -> Operation[int | None]:
    """Read the moment of :meth:`DeliveryStore.next_due_at`."""
    return (yield from only("find_next_delivery", into=Moment, after=after)).at


# Trying --------------------------------------------------------------------------------------------------------------


def _claim(transaction: Transaction, state: SenderState, claim_ms: int) -> Operation[Claimed]:
    """Count one more try for each delivery. A try without a result when its claim expires is recorded as interrupted.

    The cost does not depend on how many deliveries are owed: one step for each organization with open deliveries, and
    one for each host of the organizations that may begin a try.
    """
    now = yield from transaction.read_clock()
    walked = yield from rows(
        "find_due_organizations", into=DueOrganizationRow, after=state.organizations_after, most=ORGANIZATIONS_WALKED
    )
    choice = DeliveryChoice(state)
    in_turn = choice.in_turn(row.organization_id for row in walked if row.due_at <= now)
    wanted: dict[str, int] = {}
    sizes: dict[str, int] = {}
    hosts_after: dict[int, str] = {}
    while in_turn and not choice.full:
        asked, in_turn = in_turn[:ORGANIZATIONS_ASKED], in_turn[ORGANIZATIONS_ASKED:]
        hosts_after |= dict.fromkeys(asked, "")
        found = yield from rows(
            "find_due_deliveries", into=HostRow,
            organizations=[(one, state.hosts_after.get(one, "")) for one in asked], now=now, hosts=HOSTS_WALKED,
            most=state.limits.host,
        )  # fmt: skip
        for host in found:
            if host.place == HOSTS_WALKED:
                hosts_after[host.organization_id] = host.host
        due = sorted(((host, one) for host in found for one in host.due), key=lambda pair: (pair[1].due_at, pair[1].id))
        places = choice.choose([(host.organization_id, host.host, one.size) for host, one in due])
        chosen = [due[place][1] for place in places]
        wanted |= {one.id: one.tries for one in chosen}
        sizes |= {one.id: one.size for one in chosen}
    locked = yield from rows_if("lock_deliveries", list(wanted), into=LockedDeliveryRow, ids=list(wanted), now=now)
    taken = {row.id: row for row in locked if row.tries == wanted[row.id]}
    lost = [
        (row.id, row.tries, row.claimed_until - claim_ms, None, INTERRUPTED, 0, None, None, None)
        for row in taken.values()
        if row.claimed_until
    ]
    yield from run_if("upsert_tries", lost, tries=lost)
    yield from run_if("claim_deliveries", list(taken), ids=list(taken), until=now + claim_ms)
    return Claimed(
        deliveries=[
            DueDelivery(
                id=row.id, organization_id=row.organization_id, task_id=row.task_id, url=row.url, host=row.host,
                body=row.body, number=row.tries + 1, size=sizes[row.id],
            )
            for row in (taken[one] for one in wanted if one in taken)
        ],
        organizations_after=walked[-1].organization_id if len(walked) == ORGANIZATIONS_WALKED else 0,
        hosts_after=hosts_after,
        missed=len(wanted) - len(taken),
    )  # fmt: skip


def _record_tries(transaction: Transaction, tried: Sequence[Tried], pauses_ms: Sequence[int]) -> Operation[list[None]]:
    yield from transaction.read_clock()
    found = yield from rows("find_deliveries_to_record", into=OpenDelivery, ids=[one.delivery_id for one in tried])
    deliveries = {one.id: one for one in found}
    tries: list[tuple[Any, ...]] = []
    ended: list[HostTry] = []
    for one in tried:
        delivery = deliveries.get(one.delivery_id)
        if delivery is None:
            continue
        asked_ms = _end(transaction, delivery, one, pauses_ms)
        transaction.memory.seen.try_ended("delivered" if one.error is None else "failed")
        ended.append(HostTry(delivery.organization_id, delivery.host, one.at, one.http_status, one.error, one.took_ms))
        tries.append(
            (
                one.delivery_id,
                one.number,
                one.at,
                one.http_status,
                one.error,
                one.took_ms,
                one.cause,
                one.answer,
                asked_ms,
            )
        )
    changed = [(one.id, one.due_at, one.claimed_until, one.delivered_at) for one in deliveries.values()]
    yield from run_if("upsert_tries", tries, tries=tries)
    yield from run_if("update_deliveries", changed, deliveries=changed)
    yield from count_tries(transaction, ended)
    return [None] * len(tried)


def _end(transaction: Transaction, delivery: OpenDelivery, one: Tried, pauses_ms: Sequence[int]) -> int | None:
    """Change a delivery after a try. Return how long its receiver asked to wait if the next try waits for that."""
    now = transaction.now
    if one.error is None:
        delivery.due_at = delivery.claimed_until = None
        delivery.delivered_at = delivery.delivered_at or now
    elif delivery.tries == one.number and delivery.claimed_until is not None:
        # A test event is tried once, and so is a delivered message that is sent again by request.
        test = delivery.task_id is None and delivery.alert_id is None
        once = test or delivery.delivered_at is not None
        pause_ms = None if once else delivery_pause_ms(one.number, pauses_ms, transaction.config.chance())
        delivery.due_at = None if pause_ms is None else now + max(pause_ms, one.wait_ms)
        delivery.claimed_until = None
        if pause_ms is not None and one.wait_ms > pause_ms:
            return one.wait_ms
    return None


# Upkeep --------------------------------------------------------------------------------------------------------------


def delete_deliveries_of(tasks: Sequence[tuple[int, str]]) -> Operation[None]:
    """Delete the deliveries and tries of these (organization, task)."""
    yield from delete_deliveries((yield from rows_if("find_deliveries_of", tasks, into=str, tasks=tasks)))


def purge_tests(before: int, most: int) -> Operation[int]:
    """Delete test events that are over and older than this; return how many."""
    found = yield from rows("find_old_tests", into=str, before=before, most=most)
    yield from delete_deliveries(found)
    return len(found)


def delete_deliveries(ids: Sequence[str]) -> Operation[None]:
    """Delete these deliveries and their tries."""
    yield from run_if("delete_tries", ids, ids=ids)
    yield from run_if("delete_deliveries", ids, ids=ids)
