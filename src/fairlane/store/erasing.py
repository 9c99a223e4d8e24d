"""Erase an organization with everything it owns: what runs first, then what waits, what ended, and the row itself.

Each step is one transaction over at most CHUNK rows. The flag is in the organization's row, so the operator's next
request continues, or upkeep after a crash.
"""

from collections.abc import Callable, Sequence

from fairlane.model.leases import Failed
from fairlane.model.organizations import Erased, Organization
from fairlane.store.deliveries import delete_deliveries, delete_deliveries_of
from fairlane.store.lease_rows import CALL
from fairlane.store.noun import Noun, Shared
from fairlane.store.organizations import find_organization, find_organization_id
from fairlane.store.settling import RELEASED, return_leases
from fairlane.store.statements import CHUNK, Operation, Row, rows, run, run_if
from fairlane.store.tasks import clear
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

OWNED = (
    "erase_calls", "erase_keys", "erase_webhook_secrets", "erase_usage_months", "erase_usage", "erase_type_usage",
    "erase_failures", "erase_alerts", "erase_bulk_parts", "erase_bulks", "erase_webhook_hosts",
)  # fmt: skip
"""Statements for ended calls, for the organization's keys, secrets, alerts and bulks, and for its usage,
failures and hosts of webhooks."""
ENDED = Failed(cause="the organization is being erased", retry=False)
"""How its calls end. Its tasks return to the queue, and are deleted there."""
ERASING_MOST = 100


class OwnedLeaseRow(Row, frozen=True):
    """A lease of the organization."""

    id: str
    kind: int


class OwnedTaskRow(Row, frozen=True):
    """A task of the organization that has ended."""

    id: str
    idempotency_key: str | None


STEPS_MOST = 20
"""How many steps of erasing one request waits for."""


class ErasingStore(Noun):
    """Organizations that are being erased."""

    def __init__(self, shared: Shared, *, forget_keys: Callable[[], None]) -> None:
        """``forget_keys`` is called after an organization was disabled."""
        super().__init__(shared)
        self._forget_keys = forget_keys

    async def erase(self, name: str, *, actor: str) -> Erased:
        """Start or continue to erase an organization with everything it owns, for a limited number of steps.

        From the first answer on it is disabled, and can no longer be changed. Ask again until it is done; upkeep
        continues in any case. Raises NotFound, also once it is gone.
        """
        try:
            erased = await self._write(begin_erasing, name, actor)
        finally:
            self._forget_keys()
        total = 0
        for _ in range(STEPS_MOST):
            count = await self.step(erased.id)
            total += count
            if not count:
                return Erased(organization=name, rows=total, done=True)
        return Erased(organization=name, rows=total, done=False)

    async def step(self, organization_id: int) -> int:
        """Do one step; return the number of rows, or 0 when nothing is left and the organization is gone.

        Later reports of its workers are answered *gone*. Its webhooks get no messages.
        """
        return await self._write(_step, organization_id)

    async def all(self) -> list[int]:
        """Return organizations that are being erased; at most a hundred."""
        return await self._database.read(find_erasing())


def begin_erasing(transaction: Transaction, name: str, actor: str) -> Operation[Organization]:
    organization_id = yield from find_organization_id(name)
    locked = yield from transaction.lock([organization_id])
    before = yield from find_organization(name)
    if before.erasing:
        return before
    yield from run("update_erasing", id=organization_id)
    locked[organization_id].disabled = 1
    yield from transaction.save()
    totals = {"submitted": before.submitted, "completed": before.completed, "failed": before.failed,
              "queued": before.queued, "processing": before.processing}  # fmt: skip
    yield from write_trail(transaction, actor, "organization.erasing", name, totals)
    return (yield from find_organization(name))


def find_erasing() -> Operation[list[int]]:
    """Read the organizations that are being erased."""
    return (yield from rows("find_erasing", into=int, most=ERASING_MOST))


def _step(transaction: Transaction, organization_id: int) -> Operation[int]:
    locked = yield from transaction.lock([organization_id])
    if organization_id not in locked:
        return 0
    leases = yield from rows(
        "find_organization_leases", into=OwnedLeaseRow, organization_id=organization_id, most=CHUNK
    )
    if leases:
        return (
            yield from return_leases(transaction, [(row.id, ENDED if row.kind == CALL else RELEASED) for row in leases])
        )
    cleared = yield from clear(transaction, organization_id, None)
    if cleared.count:
        return int(cleared.count)
    tasks = yield from rows("find_organization_tasks", into=OwnedTaskRow, organization_id=organization_id, most=CHUNK)
    if tasks:
        return (yield from _erase_ended(organization_id, tasks))
    messages = yield from rows("find_organization_deliveries", into=str, organization_id=organization_id, most=CHUNK)
    if messages:
        yield from delete_deliveries(messages)
        return len(messages)
    for statement in OWNED:
        erased = yield from rows(statement, into=str, organization_id=organization_id, most=CHUNK)
        if erased:
            return len(erased)
    grants = yield from rows("erase_credit_grants", into=int, organization_id=organization_id, most=CHUNK)
    if grants:
        transaction.locked[organization_id].credits_granted -= sum(grants)
        yield from transaction.save()
        return len(grants)
    yield from _erase_row(transaction, organization_id, locked[organization_id].name)
    return 0


def _erase_ended(organization_id: int, found: Sequence[OwnedTaskRow]) -> Operation[int]:
    """Delete ended tasks. Nothing runs and nothing waits any more, so all remaining tasks have ended."""
    tasks = [(organization_id, row.id) for row in found]
    keys = [(organization_id, row.idempotency_key) for row in found if row.idempotency_key is not None]
    yield from run_if("delete_idempotency", keys, keys=keys)
    yield from delete_deliveries_of(tasks)
    yield from run("delete_attempts", tasks=tasks)
    yield from run("delete_outcomes", tasks=tasks)
    yield from run("delete_tasks", tasks=tasks)
    return len(tasks)


def _erase_row(transaction: Transaction, organization_id: int, name: str) -> Operation[None]:
    yield from run("delete_lanes", ids=[organization_id])
    yield from run("delete_all_turns", ids=[organization_id])
    yield from run("erase_organization", id=organization_id)
    yield from write_trail(transaction, "fairlane", "organization.erased", name, {})
