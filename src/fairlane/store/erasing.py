"""Erase an organization with everything it owns: what runs first, then what waits, what ended, and the row itself.

Each step is one transaction over at most CHUNK rows. The flag is in the organization's row, so the operator's next
request continues, or upkeep after a crash.
"""

from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization
from fairlane.store.audit import write_audit
from fairlane.store.deliveries import delete_deliveries, delete_deliveries_of
from fairlane.store.held import CALL
from fairlane.store.leases import RELEASED, return_leases
from fairlane.store.locked import lock_organizations, write_organizations
from fairlane.store.memory import Memory
from fairlane.store.organizations import find_organization, find_organization_id
from fairlane.store.statements import CHUNK, Operation, Rows, clock, rows, rows_if
from fairlane.store.tasks import clear

OWNED = ("erase_calls", "erase_keys", "erase_webhook_secrets", "erase_usage_months", "erase_usage", "erase_alerts")
"""Statements for ended calls, for the organization's keys, secrets and alerts, and for its usage."""
ENDED = Failed(cause="the organization is being erased", retry=False)
"""How its calls end. Its tasks return to the queue, and are deleted there."""
ERASING_MOST = 100


def begin_erasing(name: str, actor: str, memory: Memory) -> Operation[Organization]:
    """Disable the organization and mark it for erasing; it can no longer be changed. Safe to repeat. Raises
    NotFound."""
    organization_id = yield from find_organization_id(name)
    locked = yield from lock_organizations([organization_id])
    before = yield from find_organization(name)
    if before.erasing:
        return before
    yield from rows("update_erasing", id=organization_id)
    locked[organization_id].disabled = 1
    yield from write_organizations(locked, memory, (yield from clock()))
    totals = {"submitted": before.submitted, "completed": before.completed, "failed": before.failed,
              "queued": before.queued, "processing": before.processing}  # fmt: skip
    yield from write_audit(actor, "organization.erasing", name, totals, memory)
    return (yield from find_organization(name))


def find_erasing() -> Operation[list[int]]:
    """Return organizations that are being erased; at most a hundred."""
    return [row[0] for row in (yield from rows("find_erasing", most=ERASING_MOST))]


def erase_some(organization_id: int, memory: Memory) -> Operation[int]:
    """Do one step; return the number of rows, or 0 when nothing is left and the organization is gone.

    Later reports of its workers are answered *gone*. Its webhooks get no messages.
    """
    locked = yield from lock_organizations([organization_id])
    if organization_id not in locked:
        return 0
    leases = yield from rows("find_organization_leases", organization_id=organization_id, most=CHUNK)
    if leases:
        return (yield from return_leases([(row[0], ENDED if row[1] == CALL else RELEASED) for row in leases], memory))
    cleared = yield from clear(organization_id, None, memory)
    if cleared.count:
        return int(cleared.count)
    tasks = yield from rows("find_organization_tasks", organization_id=organization_id, most=CHUNK)
    if tasks:
        return (yield from _erase_ended(organization_id, tasks))
    messages = yield from rows("find_organization_deliveries", organization_id=organization_id, most=CHUNK)
    if messages:
        yield from delete_deliveries([row[0] for row in messages])
        return len(messages)
    for statement in OWNED:
        erased = yield from rows(statement, organization_id=organization_id, most=CHUNK)
        if erased:
            return len(erased)
    grants = yield from rows("erase_credit_grants", organization_id=organization_id, most=CHUNK)
    if grants:
        locked[organization_id].credits_granted -= sum(row[0] for row in grants)
        yield from write_organizations(locked, memory, (yield from clock()))
        return len(grants)
    yield from _erase_row(organization_id, locked[organization_id].name, memory)
    return 0


def _erase_ended(organization_id: int, found: Rows) -> Operation[int]:
    """Delete ended tasks. Nothing runs and nothing waits any more, so all remaining tasks have ended."""
    tasks = [(organization_id, row[0]) for row in found]
    keys = [(organization_id, row[1]) for row in found if row[1] is not None]
    yield from rows_if("delete_idempotency", keys, keys=keys)
    yield from delete_deliveries_of(tasks)
    yield from rows("delete_outcomes", tasks=tasks)
    yield from rows("delete_tasks", tasks=tasks)
    return len(tasks)


def _erase_row(organization_id: int, name: str, memory: Memory) -> Operation[None]:
    yield from rows("delete_lanes", ids=[organization_id])
    yield from rows("delete_all_turns", ids=[organization_id])
    yield from rows("erase_organization", id=organization_id)
    yield from write_audit("fairlane", "organization.erased", name, {}, memory)
